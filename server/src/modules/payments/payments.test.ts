import {
  GatewayMisconfigured,
  GatewayUnavailable,
  type Gateway,
  type VendorPayment,
} from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { openPaymentsLab, type PaymentsLab } from './payments.fixtures/lab.ts'
import { forgetPayments } from './personal-data.ts'
import { endUntouched, startCheckout, startPayment } from './payment-start.ts'
import { previewPayment } from './payment-preview.ts'
import { recordPaymentWords } from './payment-words.ts'
import type { PaymentRow } from './payment-queries.ts'
import {
  cancelPayment,
  capturePayment,
  getPayment,
  hastenPayment,
  isPayable,
  refreshPayment,
  setMismatch,
} from './payments.ts'
import { recordSubscriptionWord } from './vendor-subscriptions.ts'

let lab: PaymentsLab
beforeAll(async () => {
  lab = await openPaymentsLab()
})
afterAll(() => lab?.close())

const word = (payment: PaymentRow, change: Partial<VendorPayment> = {}): VendorPayment => ({
  external_id: payment.external_id ?? `ext_${payment.id}`,
  payment_id: payment.id,
  status: 'succeeded',
  amount: payment.amount,
  currency: payment.currency,
  is_test: true,
  ...change,
})
const tell = (payment: PaymentRow, change: Partial<VendorPayment> = {}) =>
  lab.db.transact((tx) =>
    recordPaymentWords(tx, lab.kit, [{ gateway: 'scripted', word: word(payment, change) }]),
  )
const read = (id: string) => getPayment(lab.db, id)
const start = (id: string, options = {}) => startPayment(lab.db, lab.kit, id, options)
const unreachable = () => Promise.reject(new GatewayUnavailable('connection', { was_sent: false }))
const silent = () => Promise.reject(new GatewayUnavailable('timeout'))

describe('the intent of a payment', () => {
  test.each([
    ['another currency', {}, { currency: 'USD' }, '/gateway'],
    ['a hold', {}, { capture: 'manual' as const }, '/capture'],
    ['a kept method', {}, { saved_method_id: 'pm_1' }, '/saved_method_id'],
    ['a buyer without Telegram', { needs: { telegram_id: true } }, {}, '/customer_id'],
  ])('is refused for %s where the gateway cannot', async (_title, more, change, pointer) => {
    lab.follow({}, more)
    await expect(lab.intend(change)).rejects.toMatchObject({
      code: 'invalid_request',
      facts: { errors: [expect.objectContaining({ pointer })] },
    })
  })

  it('is refused without a contact where a receipt is needed, by the settings', async () => {
    lab.follow({}, { needs: { receipt_contact: true } })
    await expect(lab.intend()).rejects.toMatchObject({ code: 'receipt_contact_needed' })
    lab.follow({}, { needs: { receipt_contact: () => false } })
    await expect(lab.intend()).resolves.toMatch(/^pay_/)
    await expect(lab.intend({ gateway: 'nobody' })).rejects.toMatchObject({ code: 'gateway_not_available' })
  })
})

describe('a question to the vendor', () => {
  it('is certain to have made nothing when it was not reached, and only then gives up', async () => {
    lab.follow({ createPayment: unreachable })
    const id = await lab.intend()
    await expect(start(id)).rejects.toMatchObject({
      code: 'gateway_unavailable',
      facts: { is_nothing_made: true },
    })
    expect(await read(id)).toMatchObject({ status: 'unknown', open_asks: 0 })
    expect(await start(id, { gives_up: true })).toMatchObject({
      status: 'failed',
      failure_reason: 'gateway_unreachable',
    })
    expect(await start(id)).toMatchObject({ status: 'failed' })
  })

  it('that may have made something is never given up, nor is one before it forgotten', async () => {
    lab.follow({ createPayment: silent })
    const id = await lab.intend()
    await expect(start(id, { gives_up: true })).rejects.toMatchObject({
      code: 'gateway_unavailable',
      facts: {},
    })
    expect(await read(id)).toMatchObject({ status: 'unknown', open_asks: 1 })
    lab.follow({ createPayment: unreachable })
    const later = start(id, { gives_up: true })
    await expect(later).rejects.toMatchObject({ code: 'gateway_unavailable', facts: {} })
    expect(await read(id)).toMatchObject({ status: 'unknown', open_asks: 1 })
    await expect(start(id, { gives_up: true, is_down: true })).rejects.toMatchObject({ facts: {} })
    expect((await read(id)).status).toBe('unknown')
    expect(await lab.db.transact((tx) => endUntouched(tx, lab.kit, id))).toBe(false)
  })

  it('is certain to have made nothing when the vendor refuses the shop itself', async () => {
    lab.follow({ createPayment: () => Promise.reject(new GatewayMisconfigured('invalid_credentials')) })
    const [first, second] = [await lab.intend(), await lab.intend()]
    await expect(start(first)).rejects.toMatchObject({ code: 'gateway_misconfigured' })
    expect(await lab.db.transact((tx) => endUntouched(tx, lab.kit, first))).toBe(true)
    expect(await lab.db.transact((tx) => endUntouched(tx, lab.kit, first))).toBe(true)
    expect(await start(second, { gives_up: true })).toMatchObject({ failure_reason: 'gateway_misconfigured' })
  })

  it('is not asked of who is known to be down', async () => {
    let asked = 0
    lab.follow({
      createPayment: async () => {
        asked += 1
        return { status: 'pending' }
      },
    })
    const [first, second] = [await lab.intend(), await lab.intend()]
    await expect(start(first, { is_down: true })).rejects.toMatchObject({ facts: { is_nothing_made: true } })
    expect(await start(second, { is_down: true, gives_up: true })).toMatchObject({
      failure_reason: 'gateway_down',
    })
    expect(asked).toBe(0)
    const fresh = await lab.intend()
    expect(await lab.db.transact((tx) => endUntouched(tx, lab.kit, fresh))).toBe(false)
  })

  it('that is answered after somebody ended the payment changes nothing', async () => {
    const id = await lab.intend()
    lab.follow({
      createPayment: async () => {
        await lab.set({ status: 'failed' }, id)
        return { status: 'failed', failure_reason: 'late' }
      },
    })
    expect(await start(id)).toMatchObject({ status: 'failed', failure_reason: null })
  })

  it('may be answered at once with the whole payment, or with a refusal', async () => {
    const id = await lab.intend()
    const whole = word(await read(id))
    lab.follow({
      createPayment: async () => ({ status: 'succeeded', external_id: whole.external_id, payment: whole }),
    })
    expect(await startCheckout(lab.db, lab.kit, id)).toMatchObject({
      status: 'succeeded',
      captured_amount: 10_000n,
    })
    lab.follow({ createPayment: async () => ({ status: 'canceled' }) })
    const refused = startCheckout(lab.db, lab.kit, await lab.intend())
    await expect(refused).rejects.toMatchObject({ code: 'payment_refused', facts: { reason: 'canceled' } })
    lab.follow({ createPayment: () => Promise.reject(new TypeError('a mistake')) })
    await expect(start(await lab.intend())).rejects.toThrow('a mistake')
  })
})

describe('a hold', () => {
  it('is taken whole or in part, never more, and only once', async () => {
    const held = await lab.existing({ status: 'authorized', may_capture_now: false })
    lab.follow({ capturePayment: async (_config, input) => word(held, { amount: input.amount }) })
    const take = (id: string, amount?: bigint) =>
      capturePayment(lab.db, lab.kit, id, amount === undefined ? {} : { amount })
    await expect(take(held.id, 10_001n)).rejects.toMatchObject({ code: 'invalid_request' })
    expect(await take(held.id, 4000n)).toMatchObject({ status: 'succeeded', captured_amount: 4000n })
    expect(await take(held.id, 4000n)).toMatchObject({ status: 'succeeded' })
    await expect(take(held.id)).rejects.toMatchObject({ code: 'invalid_state' })
    const other = await lab.existing({ status: 'authorized', may_capture_now: false })
    lab.follow({})
    await expect(take(other.id)).rejects.toThrow('no two-stage payments')
    lab.follow({ capturePayment: silent })
    await expect(take(other.id)).rejects.toMatchObject({ code: 'gateway_unavailable' })
  })

  it('is let go where the vendor can; twice is once', async () => {
    const held = await lab.existing({ status: 'authorized' })
    const cancel = (id: string) => cancelPayment(lab.db, lab.kit, id)
    lab.follow({})
    await expect(cancel(held.id)).rejects.toThrow('cannot cancel')
    lab.follow({ cancelPayment: async () => word(held, { status: 'canceled' }) })
    expect(await cancel(held.id)).toMatchObject({ status: 'canceled' })
    expect(await cancel(held.id)).toMatchObject({ status: 'canceled' })
    const paid = await lab.existing({ status: 'succeeded', captured_amount: 10_000n })
    await expect(cancel(paid.id)).rejects.toMatchObject({ facts: { status_now: 'succeeded' } })
    await expect(cancel(await lab.intend())).rejects.toThrow('cannot cancel')
  })
})

describe('what a vendor says', () => {
  it('brings the fee, at once or later, once, with its currency', async () => {
    const [first, second] = [await lab.existing(), await lab.existing()]
    await tell(first, { fee: 350n })
    expect(await read(first.id)).toMatchObject({ fee: 350n, fee_currency: 'RUB' })
    await tell(second)
    expect(await read(second.id)).toMatchObject({ fee: null, fee_currency: null })
    expect(await tell(second, { fee: 4n, fee_currency: 'USD' })).toEqual(['fee'])
    expect(await tell(second, { fee: 5n, fee_currency: 'EUR' })).toEqual(['nothing_new'])
    expect(await read(second.id)).toMatchObject({ fee: 4n, fee_currency: 'USD', status: 'succeeded' })
  })

  it.each([
    ['less money', { amount: 9n }, 'wrong_amount', 9n],
    ['more money', { amount: 10_001n }, 'wrong_amount', 10_001n],
    ['another order', { order_id: 'ord_of_another' }, 'wrong_order', 10_000n],
    ['a late time', { paid_at: new Date('2199-01-01') }, 'order_expired', 10_000n],
    ['another currency', { currency: 'USD' }, 'wrong_currency', 0n],
    ['another receiver', { receiver_matches: false }, 'wrong_receiver', 0n],
    ['another payment there', { external_id: 'ext_of_another' }, 'wrong_external_id', 0n],
    ['less money that is held', { status: 'authorized' as const, amount: 9n }, 'wrong_amount', 0n],
    ['no money', { amount: 0n }, 'wrong_amount', 0n],
  ])(
    'and differs by %s is a mismatch that keeps what a refund could find',
    async (_title, change, reason, captured) => {
      const payment = await lab.existing()
      await tell(payment, change)
      expect(await read(payment.id)).toMatchObject({
        status: 'mismatch',
        mismatch_reason: reason,
        captured_amount: captured,
      })
    },
  )

  it('is asked for when somebody looks, but not twice at once and not of one without an id', async () => {
    const payment = await lab.existing({ next_check_at: new Date(lab.clock.now_ms() + 60_000) })
    const look = async () => {
      await hastenPayment(lab.db, lab.kit, await read(payment.id))
      return (await read(payment.id)).next_check_at
    }
    const before = payment.next_check_at
    expect(await look()).toEqual(before)
    lab.clock.advance(6_000)
    expect(await look()).toEqual(lab.clock.now())
    const without = await read(await lab.intend())
    await hastenPayment(lab.db, lab.kit, without)
    expect(await read(without.id)).toEqual(without)
  })

  it('is nothing where the gateway is not set up any more', async () => {
    const payment = await lab.existing({ gateway: 'long-gone' })
    expect(await refreshPayment(lab.db, lab.kit, payment)).toBeUndefined()
    await expect(read('pay_absent')).rejects.toMatchObject({ code: 'not_found' })
    await expect(
      lab.db.transact((tx) => setMismatch(tx, lab.kit, 'pay_absent', 'order_canceled')),
    ).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('a charge of a vendor’s subscription', () => {
  const ID = 'sub_of_the_lab'
  const made: string[] = []
  /** What the vendor shows of a charge, and when. */
  let shown: 'at_once' | 'later' = 'at_once'
  const vendor = (charge: 'answered' | 'silent' | 'unreachable' | 'misconfigured'): Partial<Gateway> => ({
    chargeSubscription: async (_config, { payment_id, amount, currency }) => {
      const found = shown === 'at_once' && made.includes(payment_id)
      if (!found && charge === 'unreachable') return unreachable()
      if (!found && charge === 'misconfigured') throw new GatewayMisconfigured('no such right')
      if (!found) made.push(payment_id)
      if (!found && charge === 'silent') return silent()
      const payment = {
        external_id: `ext_${payment_id}`,
        payment_id,
        status: 'succeeded' as const,
        amount,
        currency,
      }
      return { status: 'succeeded', external_id: payment.external_id, payment }
    },
  })
  const charge = (change = {}) =>
    lab.intend({ vendor_subscription_id, customer_id: 'cus_subscriber', ...change })
  let vendor_subscription_id = ''
  beforeAll(async () => {
    const told = {
      gateway: 'scripted',
      word: { external_id: ID, is_active: true, will_renew: true, currency: 'RUB' },
      told_at: lab.clock.now(),
      customer_id: 'cus_subscriber',
    }
    lab.follow({}, vendor('answered'))
    const { subscription } = await lab.db.transact((tx) => recordSubscriptionWord(tx, lab.kit, told))
    vendor_subscription_id = subscription?.id ?? ''
  })

  it('is asked for by one of twenty, and not again when it is known', async () => {
    lab.follow({}, vendor('answered'))
    const id = await charge()
    const asked = await Promise.allSettled(Array.from({ length: 20 }, () => start(id)))
    for (const one of asked)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'gateway_unavailable' })
    expect(await start(id)).toMatchObject({ status: 'succeeded', external_id: `ext_${id}` })
    expect(made.filter((one) => one === id)).toEqual([id])
  })

  it('without an answer is not asked for again before the vendor has had time to show it', async () => {
    lab.follow({}, vendor('silent'))
    shown = 'later'
    const id = await charge()
    for (const _time of ['asked', 'waits', 'waits'])
      await expect(start(id)).rejects.toMatchObject({ code: 'gateway_unavailable' })
    expect(made.filter((one) => one === id)).toEqual([id])
    lab.clock.advance(61_000)
    shown = 'at_once'
    expect(await start(id)).toMatchObject({ status: 'succeeded' })
    expect(made.filter((one) => one === id)).toEqual([id])
  })

  it('whose asker died is asked for again after the longest charge, and looked for first', async () => {
    const id = await charge()
    await lab.set(
      { status: 'unknown', open_asks: 1, asking_until: new Date(lab.clock.now_ms() + 180_000) },
      id,
    )
    lab.follow({}, vendor('answered'))
    await expect(start(id)).rejects.toMatchObject({ code: 'gateway_unavailable' })
    lab.clock.advance(181_000)
    expect(await start(id)).toMatchObject({ status: 'succeeded' })
    expect(made.filter((one) => one === id)).toEqual([id])
  })

  test.each(['unreachable', 'misconfigured'] as const)(
    'that was %s may be asked for at once',
    async (how) => {
      lab.follow({}, vendor(how))
      const id = await charge()
      await expect(start(id)).rejects.toThrow()
      lab.follow({}, vendor('answered'))
      expect(await start(id)).toMatchObject({ status: 'succeeded' })
      expect(made.filter((one) => one === id)).toEqual([id])
    },
  )

  test.each([
    ['somebody else’s', { customer_id: 'cus_stranger' }, 'not_found'],
    ['one that is not there', { vendor_subscription_id: 'vsub_none' }, 'not_found'],
    ['a kept method beside it', { saved_method_id: 'pm_1' }, 'invalid_request'],
    ['a method beside it', { method: 'card' }, 'invalid_request'],
  ])('is refused for %s', async (_title, change, code) => {
    lab.follow({ chargeSavedMethod: silent }, vendor('answered'))
    await expect(charge(change)).rejects.toMatchObject({ code })
  })

  it('is refused where the gateway cannot, and for a subscription that is over', async () => {
    lab.follow({})
    await expect(charge()).rejects.toMatchObject({ code: 'invalid_request' })
    lab.follow({}, vendor('answered'))
    const word = { external_id: ID, is_active: false, will_renew: false }
    const told = { gateway: 'scripted', word, told_at: lab.clock.now() }
    await lab.db.transact((tx) => recordSubscriptionWord(tx, lab.kit, told))
    await expect(charge()).rejects.toMatchObject({ code: 'invalid_state' })
  })
})

describe('a preview of a payment', () => {
  const preview = (currency = 'RUB') =>
    previewPayment(lab.db, lab.kit, {
      customer_id: 'cus_1',
      gateway: 'scripted',
      amount: 100n,
      currency,
      description: 'units',
      country: undefined,
      postal_code: undefined,
      vendor_subscription_id: undefined,
    })

  it('is our price where the vendor tells nothing, else the vendor’s word, refusal or silence', async () => {
    lab.follow({})
    const figures = { subtotal: 100n, tax: null, total: 100n, currency: 'RUB' }
    expect(await preview()).toEqual({ ...figures, is_of_vendor: false })
    await expect(preview('USD')).rejects.toMatchObject({ code: 'invalid_request' })
    const told = { subtotal: 90n, tax: 10n, total: 100n, currency: 'RUB' }
    lab.follow({}, { previewPayment: async () => told })
    expect(await preview()).toEqual({ ...told, is_of_vendor: true })
    lab.follow({}, { previewPayment: async () => ({ refusal: 'not_there' }) })
    await expect(preview()).rejects.toMatchObject({ code: 'payment_refused', facts: { reason: 'not_there' } })
    lab.follow({}, { previewPayment: silent })
    await expect(preview()).rejects.toMatchObject({ code: 'gateway_unavailable' })
  })
})

it('is payable until it has ended or its order’s time is over', async () => {
  const payment = await lab.existing()
  const may = (id: string) => isPayable(lab.db, lab.clock, id)
  expect([await may(payment.id), await may('pay_absent')]).toEqual([true, false])
  const over = await lab.existing({ expires_at: new Date(lab.clock.now_ms() - 1) })
  const ended = await lab.existing({ status: 'failed' })
  expect([await may(over.id), await may(ended.id)]).toEqual([false, false])
})

it('forgets who paid, not what was paid', async () => {
  const payment = await lab.existing({ email: 'a@b.example', telegram_id: 7n })
  await lab.db.transact((tx) => forgetPayments(tx, lab.clock, [payment.customer_id]))
  expect(await read(payment.id)).toMatchObject({ email: null, telegram_id: null, amount: 10_000n })
})
