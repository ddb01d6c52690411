import { GatewayMisconfigured, GatewayUnavailable } from '@kopilka/extension'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newId, outcomeOf } from '../../../../test/gateway-contract.ts'
import { openPaypal, PAYPAL_APP, purchase, refundOf } from '../../../../test/paypal-lab.ts'
import type { PaypalLab } from '../../../../test/paypal-lab.ts'
import paypal from './paypal.ts'

let lab: PaypalLab
beforeAll(async () => {
  lab = await openPaypal()
})
afterEach(() => lab.emulator.control.reset())
afterAll(() => lab?.emulator.close())

const complete = (id: string, input: object | string) =>
  lab.emulator.control.complete(id, input as 'succeeded')
const settings = (patch: object) => lab.emulator.control.settings(patch as Record<string, unknown>)

describe('a payment at PayPal', () => {
  it('is asked for with our ids, for a page that takes money at once and ships nothing', async () => {
    await lab.created(purchase({ payment_id: 'pay_01jcanarycanarycanarycana0', order_id: 'ord_1' }))
    expect(lab.sentTo('/v2/checkout/orders')).toEqual([
      {
        intent: 'CAPTURE',
        purchase_units: [
          {
            reference_id: 'default',
            custom_id: 'pay_01jcanarycanarycanarycana0',
            invoice_id: 'ord_1-7',
            description: '100 tokens & more',
            amount: { currency_code: 'USD', value: '10.00' },
          },
        ],
        payment_source: {
          paypal: {
            experience_context: {
              locale: 'en-US',
              landing_page: 'NO_PREFERENCE',
              shipping_preference: 'NO_SHIPPING',
              user_action: 'PAY_NOW',
              payment_method_preference: 'IMMEDIATE_PAYMENT_REQUIRED',
              return_url: 'https://shop.example/return?order=1',
              cancel_url: 'https://shop.example/return?order=1',
            },
          },
        },
      },
    ])
  })

  it.each([
    ['JPY', 500n, '500'],
    ['HUF', 50_000n, '500'],
    ['TWD', 100n, '1'],
    ['EUR', 1n, '0.01'],
  ])('in %s of %s parts is %s at the vendor, and the same back', async (currency, amount, value) => {
    const { payment } = await lab.paid(purchase({ currency, amount }))
    expect(lab.captures()[0]?.amount).toEqual({ currency_code: currency, value })
    expect(payment).toMatchObject({ status: 'succeeded', amount, currency })
  })

  it.each([
    ['half a forint', { currency: 'HUF', amount: 50_050n }, 'amount_not_supported'],
    ['roubles', { currency: 'RUB' }, 'amount_not_supported'],
    ['nothing', { amount: 0n }, 'amount_not_supported'],
    ['another method', { method: 'sbp' }, 'method_not_supported'],
  ])('of %s is refused without asking', async (_what, changes, reason) => {
    const input = purchase(changes)
    const refused = await paypal.createPayment(lab.configOf(), input, lab.context)
    expect(refused).toEqual({ status: 'failed', failure_reason: reason })
    expect(lab.emulator.control.status().counts.requests).toBe(0)
  })

  it('charges nothing until it is approved, and is captured once by whoever reads it first', async () => {
    const reference = await lab.created()
    expect(await lab.read(reference)).toMatchObject({ status: 'pending' })
    expect(lab.captures()).toEqual([])
    complete(reference.external_id, 'succeeded')
    const read = await Promise.all(Array.from({ length: 20 }, () => lab.read(reference)))
    expect(read.filter((payment) => payment?.status !== 'succeeded')).toEqual([])
    expect(lab.captures()).toHaveLength(1)
    expect(read[0]).toMatchObject({
      payment_id: reference.payment_id,
      order_id: reference.order_id,
      fee: 34n,
      refunded_amount: 0n,
      is_test: true,
      paid_at: expect.any(Date),
    })
  })

  it('that our books no longer want is never captured, nor when they do not answer', async () => {
    const reference = await lab.created()
    complete(reference.external_id, 'succeeded')
    const read = (isPayable: () => Promise<boolean>) =>
      paypal.getPayment(lab.configOf(), reference, { ...lab.context, isPayable })
    expect(await read(() => Promise.resolve(false))).toMatchObject({ status: 'pending' })
    const silent = read(() => Promise.reject(new Error('connection refused')))
    await expect(silent).rejects.toBeInstanceOf(GatewayUnavailable)
    expect(lab.captures()).toEqual([])
    expect(await read(() => Promise.resolve(true))).toMatchObject({ status: 'succeeded' })
  })

  it('of somebody else at the same account is left alone', async () => {
    const reference = await lab.created()
    complete(reference.external_id, 'succeeded')
    const [order] = lab.orders()
    if (order) order.purchase_units[0].custom_id = 'their-own-7'
    const told = await lab.read(reference)
    expect(told).toMatchObject({ status: 'pending' })
    expect(told).not.toHaveProperty('payment_id')
    expect(lab.captures()).toEqual([])
  })

  it('is made and captured once, also when the answers to that are lost', async () => {
    const input = purchase()
    lab.emulator.control.faults({ timeout_after_charge: 1 })
    const impatient = { ...lab.context, timeout_ms: 300 }
    const lost = await outcomeOf(paypal.createPayment(lab.configOf(), input, impatient))
    expect(lost.error).toBeInstanceOf(GatewayUnavailable)
    const reference = await lab.created(input)
    expect(lab.orders()).toHaveLength(1)
    complete(reference.external_id, 'succeeded')
    lab.emulator.control.faults({ timeout_after_charge: 1 })
    const taken = await outcomeOf(paypal.getPayment(lab.configOf(), reference, impatient))
    expect(taken.error).toBeInstanceOf(GatewayUnavailable)
    expect(await lab.read(reference)).toMatchObject({ status: 'succeeded' })
    expect(lab.captures()).toHaveLength(1)
  })

  it('under review is pending until that is decided, and counts by the moment it was paid', async () => {
    settings({ capture_outcome: 'PENDING' })
    const { reference, payment } = await lab.paid()
    expect(payment).toMatchObject({ status: 'pending' })
    expect(payment.paid_at).toBeUndefined()
    lab.emulator.control.advanceClock(3 * 86_400_000)
    complete(reference.external_id, 'succeeded')
    const told = await lab.read(reference)
    expect(told).toMatchObject({ status: 'succeeded', amount: 1000n })
    expect(told?.paid_at?.getTime()).toBeLessThan(Date.now() + 5000)
    const second = await lab.paid()
    complete(second.reference.external_id, 'canceled')
    expect(await lab.read(second.reference)).toMatchObject({ status: 'failed', failure_reason: 'declined' })
  })

  it('declined asks the buyer again, and is tried anew only when he has approved anew', async () => {
    const reference = await lab.created()
    complete(reference.external_id, { outcome: 'canceled', reason: 'INSTRUMENT_DECLINED' })
    const path = `/v2/checkout/orders/${reference.external_id}/capture`
    for (let turn = 0; turn < 3; turn++) {
      const told = await lab.read(reference)
      expect(told).toMatchObject({ status: 'requires_action' })
      expect(told?.failure_reason).toMatch(/^INSTRUMENT_DECLINED/)
    }
    expect(lab.sentTo(path)).toHaveLength(1)
    lab.emulator.control.advanceClock(60_000)
    complete(reference.external_id, 'succeeded')
    expect(await lab.read(reference)).toMatchObject({ status: 'succeeded' })
    expect(lab.captures()).toHaveLength(1)
  })

  it('that the vendor will not take is failed, with its word', async () => {
    const reference = await lab.created()
    complete(reference.external_id, { outcome: 'canceled', reason: 'TRANSACTION_REFUSED' })
    const told = await lab.read(reference)
    expect(told?.status).toBe('failed')
    expect(told?.failure_reason).toMatch(/^TRANSACTION_REFUSED/)
  })

  it('captured by somebody else meanwhile is simply paid', async () => {
    const reference = await lab.created()
    complete(reference.external_id, 'succeeded')
    const other = { ...lab.context, cache: new Map() }
    const both = [lab.read(reference), paypal.getPayment(lab.configOf(), reference, other)]
    expect((await Promise.all(both)).map((payment) => payment?.status)).toEqual(['succeeded', 'succeeded'])
    expect(lab.captures()).toHaveLength(1)
  })

  it('is known by its capture too, under the id of its order', async () => {
    const { reference } = await lab.paid()
    const external_id = lab.captures()[0]?.id ?? ''
    expect(await lab.read({ ...reference, external_id })).toMatchObject({
      external_id: reference.external_id,
      payment_id: reference.payment_id,
    })
  })

  it('tells whether the money went where it should', async () => {
    const { reference } = await lab.paid()
    const told = (merchant_id: string) =>
      paypal.getPayment(lab.configOf({ merchant_id }), reference, lab.context)
    expect(await told('KPLKAEMULATR2')).toMatchObject({ receiver_matches: true })
    expect(await told('SMBDYELSEXXX2')).toMatchObject({ receiver_matches: false })
  })

  it('nobody approved dies by itself, and is gone later', async () => {
    const reference = await lab.created()
    lab.emulator.control.advanceClock(4 * 3_600_000)
    expect(await lab.read(reference)).toMatchObject({ status: 'canceled', failure_reason: 'voided' })
    lab.emulator.control.advanceClock(12 * 3_600_000)
    lab.context.cache.clear()
    expect(await lab.read(reference)).toBeUndefined()
  })
})

describe('a payment in two stages at PayPal', () => {
  it('is held when approved, taken in part once, and what was taken is what counts', async () => {
    const { reference, payment } = await lab.paid(purchase({ capture: false }))
    expect(payment).toMatchObject({ status: 'authorized', amount: 1000n })
    expect(lab.captures()).toEqual([])
    const capture = (amount: bigint) =>
      paypal.capturePayment?.(lab.configOf(), { ...reference, amount }, lab.context)
    const taken = await Promise.all(Array.from({ length: 5 }, () => capture(400n)))
    expect(taken.every((one) => one?.status === 'succeeded' && one.amount === 400n)).toBe(true)
    expect(lab.captures()).toMatchObject([{ amount: { value: '4.00' } }])
    expect(await capture(500n)).toMatchObject({ status: 'succeeded', amount: 400n })
    expect(lab.captures()).toHaveLength(1)
  })

  it('is not taken for more than is held', async () => {
    const { reference } = await lab.paid(purchase({ capture: false }))
    const told = await paypal.capturePayment?.(lab.configOf(), { ...reference, amount: 1001n }, lab.context)
    expect(told).toMatchObject({ status: 'authorized', failure_reason: expect.any(String) })
  })

  it('is let go while held; an unpaid one is just never captured; a paid one stays', async () => {
    const cancel = (reference: Parameters<typeof lab.read>[0]) =>
      paypal.cancelPayment?.(lab.configOf(), reference, lab.context)
    const held = (await lab.paid(purchase({ capture: false }))).reference
    expect(await cancel(held)).toMatchObject({ status: 'canceled' })
    expect(await cancel(held)).toMatchObject({ status: 'canceled' })
    expect(await cancel(await lab.created())).toMatchObject({ status: 'canceled' })
    expect(await cancel((await lab.paid()).reference)).toMatchObject({ status: 'succeeded' })
    const unknown = cancel({ ...purchase(), external_id: '5O190127TN364715T' })
    await expect(unknown).rejects.toBeInstanceOf(GatewayMisconfigured)
  })
})

describe('money given back at PayPal', () => {
  const refund = (input: ReturnType<typeof refundOf>) => paypal.refund?.(lab.configOf(), input, lab.context)
  const getRefund = (input: object) => paypal.getRefund?.(lab.configOf(), input as never, lab.context)

  it('in parts is told with its payment, and by either id', async () => {
    const { reference } = await lab.paid()
    const input = refundOf(reference, 400n)
    const made = await refund(input)
    const told = { status: 'succeeded', amount: 400n, refund_id: input.refund_id }
    const of = { payment_id: reference.payment_id, payment_external_id: reference.external_id }
    expect(made).toMatchObject({ ...told, ...of })
    expect(await getRefund(input)).toMatchObject({ ...told, external_id: made?.external_id })
    const nothing_known = { ...input, refund_id: '', payment: { ...reference, external_id: undefined } }
    expect(await getRefund({ ...nothing_known, external_id: made?.external_id })).toMatchObject({
      ...told,
      ...of,
    })
    expect(await refund(refundOf(reference, 600n))).toMatchObject({ status: 'succeeded' })
    expect(await lab.read(reference)).toMatchObject({ status: 'succeeded', refunded_amount: 1000n })
    expect((await refund(refundOf(reference, 1n)))?.failure_reason).toMatch(/^CAPTURE_FULLY_REFUNDED/)
  })

  it('of the whole by hand is the refund that was asked for a moment later', async () => {
    const { reference } = await lab.paid()
    const by_hand = { ...refundOf(reference, 1000n), refund_id: 'by-hand' }
    const made = await refund(by_hand)
    expect(await refund(refundOf(reference, 1000n))).toMatchObject({
      status: 'succeeded',
      external_id: made?.external_id,
    })
    expect(lab.emulator.control.objects({ collection: 'refunds' }).items).toHaveLength(1)
    const { refund_id, ...ours } = refundOf((await lab.paid()).reference, 1000n)
    await refund({ ...ours, refund_id })
    expect(await refund({ ...ours, refund_id: newId('re') })).toMatchObject({ status: 'failed' })
  })

  it('of a part by hand is not the part that was asked for: only the whole is one and the same', async () => {
    const { reference } = await lab.paid()
    await refund(refundOf(reference, 500n))
    // The other half goes back by hand, and then we ask for a half too.
    await refund({ ...refundOf(reference, 500n), refund_id: 'by-hand' })
    const asked = await refund(refundOf(reference, 500n))
    expect(asked).toMatchObject({ status: 'failed', external_id: expect.stringMatching(/^refused:/) })
    expect(asked?.failure_reason).toMatch(/^CAPTURE_FULLY_REFUNDED/)
    expect(lab.emulator.control.objects({ collection: 'refunds' }).items).toHaveLength(2)
  })

  it('may wait, and may fail', async () => {
    settings({ refund_outcome: 'PENDING' })
    const { reference } = await lab.paid()
    const input = refundOf(reference, 1000n)
    const made = await refund(input)
    expect(made).toMatchObject({ status: 'pending' })
    expect(await lab.read(reference)).toMatchObject({ refunded_amount: 0n })
    complete(made?.external_id ?? '', 'canceled')
    expect(await getRefund({ ...input, external_id: made?.external_id })).toMatchObject({
      status: 'failed',
      failure_reason: 'failed',
    })
  })

  it('for an unpaid, waiting or unknown payment is a refusal', async () => {
    const unpaid = await lab.created()
    settings({ capture_outcome: 'PENDING' })
    const waiting = (await lab.paid()).reference
    for (const reference of [unpaid, waiting, { ...unpaid, external_id: '5O190127TN364715T' }]) {
      expect(await refund(refundOf(reference, 100n))).toMatchObject({
        status: 'failed',
        failure_reason: 'payment_not_found',
      })
    }
    expect(lab.emulator.control.objects({ collection: 'refunds' }).items).toEqual([])
  })
})

describe('PayPal’s report', () => {
  it('holds every payment and refund of a time once, over windows and pages', async () => {
    const ids = new Set<string | undefined>()
    for (let count = 0; count < 3; count++) ids.add((await lab.paid()).reference.payment_id)
    const { reference } = await lab.paid()
    ids.add(reference.payment_id)
    const made = await paypal.refund?.(lab.configOf(), refundOf(reference, 400n), lab.context)
    await lab.created()
    const range = { from: new Date(Date.now() - 65 * 86_400_000), to: new Date(Date.now() + 60_000) }
    const listed: (string | undefined)[] = []
    let cursor: string | undefined
    let answers = 0
    do {
      const asked = cursor === undefined ? range : { ...range, cursor }
      const page = await paypal.listPayments?.(lab.configOf(), asked, lab.context)
      listed.push(...(page?.items ?? []).map(({ payment_id }) => payment_id))
      expect(page?.items.every(({ amount, fee }) => amount === 1000n && fee === 34n)).toBe(true)
      cursor = page?.next_cursor
      answers += 1
    } while (cursor !== undefined)
    expect(listed.toSorted()).toEqual([...ids].toSorted())
    expect(answers).toBeGreaterThan(2)
    const day = { from: new Date(Date.now() - 86_400_000), to: range.to }
    const refunds = await paypal.listRefunds?.(lab.configOf(), day, lab.context)
    expect(refunds?.items).toMatchObject([
      { external_id: made?.external_id, refund_id: made?.refund_id, amount: 400n, status: 'succeeded' },
    ])
    const before = { from: new Date(Date.now() - 86_400_000), to: new Date(Date.now() - 60_000) }
    expect((await paypal.listPayments?.(lab.configOf(), before, lab.context))?.items).toEqual([])
  })
})

describe('the access token of PayPal', () => {
  const tokens = () => lab.sentTokens()

  it('is asked for once by fifty calls at once, and again at nine tenths of its life', async () => {
    lab.context.cache.clear()
    await Promise.all(Array.from({ length: 50 }, () => lab.read({ ...purchase(), external_id: '1A' })))
    expect(tokens()).toBe(1)
    const later = { ...lab.context, now: new Date(lab.context.now.getTime() + 32_400_000 * 0.91) }
    await paypal.getPayment(lab.configOf(), { ...purchase(), external_id: '1A' }, later)
    expect(tokens()).toBe(2)
  })

  it('that was withdrawn is renewed once; of wrong credentials the health tells', async () => {
    await lab.created()
    lab.emulator.control.reset()
    await lab.created()
    expect(tokens()).toBe(1)
    const wrong = lab.configOf({ client_secret: 'EsomebodyElses0123456789' })
    const { error } = await outcomeOf(paypal.createPayment(wrong, purchase(), lab.context))
    expect(error).toBeInstanceOf(GatewayMisconfigured)
    expect(await paypal.checkHealth?.(wrong, lab.context)).toMatchObject({ ok: false })
  })

  it('of an app that may not do this is the owner’s matter', async () => {
    settings({ capture_outcome: 'RESTRICTED' })
    const reference = await lab.created()
    complete(reference.external_id, 'succeeded')
    await expect(lab.read(reference)).rejects.toBeInstanceOf(GatewayMisconfigured)
  })
})

describe('the webhook of a PayPal app', () => {
  it('is led to this installation and to every event it needs; the same again changes nothing', async () => {
    const health = () => paypal.checkHealth?.(lab.configOf(), lab.context)
    expect(await health()).toMatchObject({ ok: false, detail: expect.stringContaining('another address') })
    await paypal.registerWebhook?.(lab.configOf(), lab.context)
    await paypal.registerWebhook?.(lab.configOf(), lab.context)
    expect(await health()).toEqual({ ok: true, detail: 'sandbox app' })
    const { items } = lab.emulator.control.log({ kind: 'request', limit: 1000 })
    expect(items.filter(({ method }) => method === 'PATCH')).toHaveLength(1)
    const other = lab.configOf({ webhook_id: '0AB123456C789012D' })
    await expect(paypal.registerWebhook?.(other, lab.context)).rejects.toBeInstanceOf(GatewayMisconfigured)
    expect(await paypal.checkHealth?.(other, lab.context)).toMatchObject({ ok: false })
  })
})

describe('the settings of PayPal', () => {
  it('take another address in the sandbox only', () => {
    const parse = (changes: object) => paypal.configSchema.safeParse({ ...PAYPAL_APP, ...changes })
    const base_url = 'http://127.0.0.1:9107'
    expect(parse({ environment: 'sandbox', base_url }).success).toBe(true)
    expect(parse({ environment: 'live', base_url }).success).toBe(false)
    expect(parse({ base_url: 'https://api-m.paypal.com' }).success).toBe(false)
    expect(parse({ environment: 'sandbox', base_url: 'http://192.0.2.1' }).success).toBe(false)
    const live = parse({})
    expect(live.success && paypal.isTest(live.data)).toBe(false)
  })
})

describe('the list of disputes at PayPal', () => {
  const contest = (id: string, dispute: string) => complete(id, { outcome: 'canceled', dispute })
  const around = () => ({ from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000) })
  const list = async (range: object = around()) =>
    paypal.listDisputes?.(lab.configOf(), { ...around(), ...range }, lab.context)

  it('tells each as it stands and as its notification names it, by the time it was opened', async () => {
    const { reference } = await lab.paid()
    await lab.paid()
    expect(await list()).toEqual({ items: [] })
    contest(reference.external_id, 'open')
    const payment_external_id = expect.stringMatching(/^[0-9A-Z]{17}$/)
    const told = {
      amount: 1000n,
      currency: 'USD',
      reason: 'unauthorised',
      is_test: true,
      payment_external_id,
    }
    const { items: [open] = [] } = (await list()) ?? {}
    expect(open).toMatchObject({ ...told, status: 'open' })
    expect(open?.external_id).toBe(`contest:${open?.payment_external_id}`)
    expect(lab.captures().map(({ id }) => id)).toContain(open?.payment_external_id)
    contest(reference.external_id, 'lost')
    expect(await list()).toMatchObject({ items: [{ ...told, status: 'lost' }] })
    const { from, to } = around()
    expect(await list({ from: new Date(0), to: from })).toEqual({ items: [] })
    expect(await list({ from: to, to: new Date(to.getTime() + 1) })).toEqual({ items: [] })
  })

  it('leaves out what was closed undecided: another dispute takes its place', async () => {
    for (const step of ['open', 'won', 'open']) {
      const { reference } = await lab.paid()
      contest(reference.external_id, 'open')
      if (step !== 'open') contest(reference.external_id, step)
    }
    const held = lab.emulator.control.objects({ collection: 'disputes' }).items as {
      status: string
      dispute_outcome?: object
      create_time: string
    }[]
    expect(held).toHaveLength(3)
    Object.assign(held[0] ?? {}, { status: 'RESOLVED', dispute_outcome: { outcome_code: 'NONE' } })
    const told = (await list())?.items.map(({ status }) => status) ?? []
    expect(told.toSorted()).toEqual(['open', 'won'])
    expect(await list({ cursor: '3' })).toEqual({ items: [] })
  })

  it('is empty for an app without the permission: notifications tell of disputes all the same', async () => {
    const { reference } = await lab.paid()
    contest(reference.external_id, 'open')
    settings({ are_disputes_readable: false })
    expect(await list()).toEqual({ items: [] })
  })
})
