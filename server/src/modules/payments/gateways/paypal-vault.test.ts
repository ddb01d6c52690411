import { GatewayUnavailable } from '@kopilka/extension'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newId, outcomeOf } from '../../../../test/gateway-contract.ts'
import { openPaypal, purchase } from '../../../../test/paypal-lab.ts'
import type { PaypalLab } from '../../../../test/paypal-lab.ts'
import paypal from './paypal.ts'

let lab: PaypalLab
beforeAll(async () => {
  lab = await openPaypal()
})
afterEach(() => lab.emulator.control.reset())
afterAll(() => lab?.emulator.close())

const settings = (patch: object) => lab.emulator.control.settings(patch as Record<string, unknown>)

describe('an agreement kept at PayPal', () => {
  const kept = async () => {
    const { payment } = await lab.paid(purchase({ save_method: true }))
    if (!payment.saved_method) throw new Error('the agreement was kept')
    return { ...purchase(), method_external_id: payment.saved_method.external_id }
  }
  const charge = (input: Awaited<ReturnType<typeof kept>>, timeout_ms = 5000) =>
    paypal.chargeSavedMethod?.(lab.configOf(), input, { ...lab.context, timeout_ms }) ??
    Promise.reject(new Error('PayPal charges kept agreements'))

  it('is asked for only with the buyer’s consent, and shown without his whole address', async () => {
    const { payment } = await lab.paid(purchase({ save_method: true }))
    expect(payment.saved_method).toEqual({
      external_id: expect.stringMatching(/^\w{17}$/),
      customer_external_id: expect.stringMatching(/^\d{10}$/),
      kind: 'paypal',
      title: 'PayPal b•••@personal.example.com',
    })
    expect(lab.sentTo('/v2/checkout/orders')[0]).toMatchObject({
      payment_source: {
        paypal: {
          attributes: { vault: { store_in_vault: 'ON_SUCCESS', usage_type: 'MERCHANT' } },
          stored_credential: { payment_initiator: 'CUSTOMER', usage: 'FIRST' },
        },
      },
    })
    expect((await lab.paid()).payment.saved_method).toBeUndefined()
    expect(lab.emulator.control.objects({ collection: 'payment_tokens' }).items).toHaveLength(1)
  })

  it('that is not ready with the order is looked up by its customer', async () => {
    settings({ vault_outcome: 'APPROVED' })
    const { payment } = await lab.paid(purchase({ save_method: true }))
    const [token] = lab.emulator.control.objects({ collection: 'payment_tokens' }).items as { id: string }[]
    expect(payment).toMatchObject({ status: 'succeeded', saved_method: { external_id: token?.id } })
  })

  it('of an account without a vault is a refusal with the vendor’s word', async () => {
    settings({ vault_outcome: 'refused' })
    const input = purchase({ save_method: true })
    const refused = await paypal.createPayment(lab.configOf(), input, lab.context)
    expect(refused.status).toBe('failed')
    expect(refused.failure_reason).toMatch(/^NOT_ENABLED_TO_VAULT_PAYMENT_SOURCE/)
  })

  it('is charged once for one payment id, without a page, by the merchant', async () => {
    const input = await kept()
    const first = await charge(input)
    expect(first).toMatchObject({
      status: 'succeeded',
      payment: { amount: 1000n, payment_id: input.payment_id, order_id: input.order_id },
    })
    expect(first.checkout_url).toBeUndefined()
    expect(await charge(input)).toMatchObject({ external_id: first.external_id })
    expect(lab.captures()).toHaveLength(2)
    expect(lab.sentTo('/v2/checkout/orders').at(-1)).toMatchObject({
      payment_source: {
        paypal: {
          vault_id: input.method_external_id,
          stored_credential: { payment_initiator: 'MERCHANT', usage: 'SUBSEQUENT' },
        },
      },
    })
  })

  it('is charged once when the answer is lost, and that charge is found by our id', async () => {
    const input = await kept()
    lab.emulator.control.faults({ timeout_after_charge: 1 })
    expect((await outcomeOf(charge(input, 300))).error).toBeInstanceOf(GatewayUnavailable)
    const found = await lab.read(input)
    expect(found).toMatchObject({ status: 'succeeded', payment_id: input.payment_id, amount: 1000n })
    expect(await charge(input)).toMatchObject({ status: 'succeeded', external_id: found?.external_id })
    expect(lab.captures()).toHaveLength(2)
    const charges = lab.captures().filter(({ custom_id }) => custom_id === input.payment_id)
    expect(charges).toHaveLength(1)
  })

  it('is not charged again when the vendor has forgotten the key', async () => {
    const input = await kept()
    const first = await charge(input)
    lab.emulator.control.advanceClock(7 * 3_600_000)
    const later = { ...lab.context, now: new Date(lab.context.now.getTime() + 7 * 3_600_000) }
    const again = await paypal.chargeSavedMethod?.(lab.configOf(), input, later)
    expect(again).toMatchObject({ status: 'succeeded', external_id: first.external_id })
    expect(lab.captures()).toHaveLength(2)
  })

  it('under an invoice that was taken is the charge that took it', async () => {
    settings({ are_invoices_unique: true })
    const input = await kept()
    const first = await charge(input)
    const { payment_id: _, ...same } = input
    const other = charge({ ...same, payment_id: newId('pay') })
    await expect(other).rejects.toBeInstanceOf(GatewayUnavailable)
    lab.context.cache.clear()
    expect(await charge(input)).toMatchObject({ external_id: first.external_id })
    expect(lab.captures()).toHaveLength(2)
  })

  it('whose charge the vendor leaves to us is captured by us, once', async () => {
    settings({ charge_outcome: 'APPROVED' })
    const input = await kept()
    const charged = await Promise.all(Array.from({ length: 10 }, () => charge(input)))
    expect(charged.every(({ status }) => status === 'succeeded')).toBe(true)
    expect(lab.captures()).toHaveLength(2)
  })

  it.each([
    ['INSTRUMENT_DECLINED', 'failed', /^INSTRUMENT_DECLINED/],
    ['PAYER_ACTION_REQUIRED', 'failed', /^payer_action_required$/],
    ['DECLINED', 'failed', /^declined$/],
    ['PENDING', 'pending', undefined],
  ])('whose charge comes to %s is %s', async (charge_outcome, status, reason) => {
    settings({ charge_outcome })
    const input = await kept()
    const charged = await charge(input)
    expect(charged.status).toBe(status)
    if (reason) expect(charged.failure_reason).toMatch(reason)
    expect(charged.payment?.paid_at).toBeUndefined()
  })

  it('is forgotten at the vendor, twice without an error, and never charged again', async () => {
    const input = await kept()
    const method = { external_id: input.method_external_id }
    await paypal.removeSavedMethod?.(lab.configOf(), method, lab.context)
    await paypal.removeSavedMethod?.(lab.configOf(), method, lab.context)
    await paypal.removeSavedMethod?.(lab.configOf(), { external_id: '../me' }, lab.context)
    expect(lab.emulator.control.objects({ collection: 'payment_tokens' }).items).toEqual([])
    const charged = await charge(input)
    expect(charged).toMatchObject({ status: 'failed' })
    expect(charged.failure_reason).toMatch(/^TOKEN_ID_NOT_FOUND/)
    expect(lab.captures()).toHaveLength(1)
  })
})

describe('a subscription PayPal keeps itself', () => {
  const make = async () => {
    const token = lab.context.cache
    token.clear()
    await lab.read({ ...purchase(), external_id: '1A' })
    const [entry] = [...lab.context.cache.values()]
    const response = await fetch(`${lab.emulator.base_url}/v1/billing/subscriptions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${String(await entry?.value)}`,
        'content-type': 'application/json',
        prefer: 'return=representation',
      },
      body: JSON.stringify({ plan_id: 'P-5ML4271244454362WXNWU5NQ', custom_id: 'sub-77' }),
    })
    return ((await response.json()) as { id: string }).id
  }
  const read = (external_id: string) => paypal.getSubscription?.(lab.configOf(), { external_id }, lab.context)
  const cancel = (external_id: string) =>
    paypal.cancelSubscription?.(lab.configOf(), { external_id }, lab.context)

  it('is told as the vendor tells it, and ends with what was paid still usable', async () => {
    const id = await make()
    expect(await read(id)).toMatchObject({ is_active: false, will_renew: false, account_id: 'sub-77' })
    lab.emulator.control.complete(id, 'succeeded')
    const paid = await read(id)
    expect(paid).toMatchObject({ is_active: true, will_renew: true, amount: 1000n, currency: 'USD' })
    const ended = await cancel(id)
    expect(ended).toMatchObject({ is_active: true, will_renew: false, expires_at: paid?.expires_at })
    expect(await cancel(id)).toMatchObject({ is_active: false, will_renew: false })
    expect(await read('I-UNKNOWN0000')).toBeUndefined()
    expect(await cancel('I-UNKNOWN0000')).toBeUndefined()
  })
})
