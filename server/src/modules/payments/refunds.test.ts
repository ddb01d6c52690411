import { GatewayUnavailable, type VendorRefund } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { openPaymentsLab, type PaymentsLab } from './payments.fixtures/lab.ts'
import { getPayment } from './payments.ts'
import type { PaymentRow } from './payment-queries.ts'
import { recordRefundWord, settleRefund } from './refund-words.ts'
import { carryOutRefund } from './refund-asking.ts'
import { getRefund, intendRefund, lockForRefund, refundableAmount } from './refunds.ts'

let lab: PaymentsLab
beforeAll(async () => {
  lab = await openPaymentsLab()
})
afterAll(() => lab?.close())

const paid = (change: Partial<PaymentRow> = {}) =>
  lab.existing({ status: 'succeeded', captured_amount: 10_000n, ...change })
let count = 0
const intend = (payment: PaymentRow, amount = 4000n, refund_id = `re_${(count += 1)}`) =>
  lab.db.transact((tx) =>
    intendRefund(tx, lab.kit, {
      refund_id,
      payment_id: payment.id,
      amount,
      reason: 'asked',
      requested_by: 'key_1',
    }),
  )
const done = (refund_id: string, change: Partial<VendorRefund> = {}): VendorRefund => ({
  external_id: `ext_${refund_id}`,
  status: 'succeeded',
  amount: 4000n,
  currency: 'RUB',
  ...change,
})
const carryOut = (id: string) => carryOutRefund(lab.db, lab.kit, id)
const settle = (id: string, word: VendorRefund) =>
  lab.db.transact((tx) => settleRefund(tx, lab.kit, id, word))

describe('the intent of a refund', () => {
  it('reserves its amount: all refunds of a payment are never more than was taken', async () => {
    lab.follow({ refund: async (_config, { refund_id }) => done(refund_id) })
    const payment = await paid()
    const first = await intend(payment, 6000n)
    expect(await intend(payment, 6000n, first.id)).toEqual(first)
    await expect(intend(payment, 4001n)).rejects.toMatchObject({
      code: 'refund_too_large',
      facts: { refundable: 4000n },
    })
    const many = await Promise.allSettled(Array.from({ length: 50 }, () => intend(payment, 1000n)))
    expect(many.filter(({ status }) => status === 'fulfilled')).toHaveLength(4)
    expect(await refundableAmount(lab.db, payment)).toBe(0n)
  })

  it('is refused where the gateway cannot, or not in part, and where nothing was taken', async () => {
    const payment = await paid()
    lab.follow({})
    await expect(intend(payment)).rejects.toThrow('cannot refund')
    lab.follow({ refund: async () => done('x') }, { may_refund_partially: false })
    await expect(intend(payment)).rejects.toThrow('whole payments only')
    await expect(intend(payment, 10_000n)).resolves.toMatchObject({ is_full: true })
    await expect(intend(await lab.existing())).rejects.toMatchObject({ code: 'invalid_state' })
    const nothing = await lab.existing({ status: 'mismatch', mismatch_reason: 'wrong_currency' })
    await expect(intend(nothing)).rejects.toMatchObject({ facts: { status_now: 'mismatch' } })
    await expect(lab.db.transact((tx) => lockForRefund(tx, 'pay_absent'))).rejects.toMatchObject({
      code: 'not_found',
    })
    await expect(getRefund(lab.db, 're_absent')).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('asking the vendor for a refund', () => {
  it('is done once, and what of a mismatch is known is told as it was taken', async () => {
    const asked: unknown[] = []
    lab.follow({
      refund: async (_config, input) => {
        asked.push([input.amount, input.payment.amount, input.is_full, input.receipt, input.telegram_id])
        return done(input.refund_id, { amount: input.amount })
      },
    })
    const mismatch = await lab.existing({
      status: 'mismatch',
      mismatch_reason: 'wrong_amount',
      captured_amount: 10_500n,
      telegram_id: 7n,
      receipt: {
        contact: { email: 'a@b.example' },
        items: [
          {
            description: 'units',
            quantity: 1,
            unit_amount: 10_000,
            vat: 'none',
            payment_subject: 'service',
            payment_mode: 'full_payment',
          },
        ],
      },
    })
    const { id } = await intend(mismatch, 10_500n)
    expect(await carryOut(id)).toMatchObject({ status: 'succeeded' })
    expect(await carryOut(id)).toMatchObject({ status: 'succeeded' })
    expect(asked).toEqual([[10_500n, 10_500n, true, undefined, '7']])
    expect(await getPayment(lab.db, mismatch.id)).toMatchObject({
      status: 'mismatch',
      refunded_amount: 10_500n,
    })
  })

  it('without an answer stays unknown, and so does a mistake of ours', async () => {
    lab.follow({ refund: () => Promise.reject(new GatewayUnavailable('timeout')) })
    const [first, second] = [await intend(await paid()), await intend(await paid())]
    expect(await carryOut(first.id)).toMatchObject({ status: 'unknown', finished_at: null })
    lab.follow({ refund: () => Promise.reject(new TypeError('a mistake')) })
    await expect(carryOut(second.id)).rejects.toThrow('a mistake')
    expect((await getRefund(lab.db, second.id)).status).toBe('unknown')
    lab.follow({})
    await expect(carryOut(second.id)).rejects.toThrow('cannot refund')
  })

  it('may be refused, and then can be tried again with another refund', async () => {
    lab.follow({
      refund: async (_config, { refund_id }) =>
        done(refund_id, { status: 'failed', external_id: `refused:${refund_id}` }),
    })
    const payment = await paid()
    const { id } = await intend(payment)
    expect(await carryOut(id)).toMatchObject({ status: 'failed', failure_reason: 'refused' })
    expect(await refundableAmount(lab.db, payment)).toBe(10_000n)
    expect(await settle(id, done(id, { status: 'failed' }))).toBe('nothing_new')
    // Refused in one try, and made in another: the money went.
    expect(await settle(id, done(id))).toBe('recorded a refund made at the vendor')
    expect(await settle(id, done(id))).toBe('nothing_new')
    expect(await refundableAmount(lab.db, payment)).toBe(6000n)
    expect((await getRefund(lab.db, id)).status).toBe('failed')
  })
})

describe('the vendor’s word about a refund', () => {
  test.each<[string, Partial<VendorRefund>, string]>([
    ['refund', { refund_id: 're_other' }, 'wrong_refund'],
    ['payment', { payment_id: 'pay_other' }, 'wrong_payment'],
    ['payment there', { payment_external_id: 'ext_other' }, 'wrong_payment'],
    ['currency', { currency: 'USD' }, 'wrong_currency'],
    ['amount', { amount: 3999n }, 'wrong_amount'],
    ['mode', { is_test: false }, 'wrong_mode'],
  ])('about another %s is refused and told to people', async (_title, change, reason) => {
    lab.follow({ refund: async () => done('x') })
    const { id } = await intend(await paid())
    lab.notices.length = 0
    expect(await settle(id, done(id, change))).toBe(`refused: ${reason}`)
    expect(lab.notices).toHaveLength(1)
    expect((await getRefund(lab.db, id)).status).toBe('pending')
  })

  it('keeps the first id it came with, waits while pending, finds its refund without ours', async () => {
    lab.follow({ refund: async () => done('x') })
    const payment = await paid()
    const { id } = await intend(payment)
    expect(await settle(id, done(id, { status: 'pending' }))).toBe('pending')
    expect(await settle(id, done(id, { external_id: 'ext_other' }))).toBe('refused: wrong_external_id')
    expect(await settle('re_absent', done(id))).toBe('not_ours')
    const told = (word: VendorRefund) =>
      lab.db.transact((tx) => recordRefundWord(tx, lab.kit, 'scripted', word))
    const whose = { payment_external_id: payment.external_id ?? '' }
    expect(await told(done(id, whose))).toBe('succeeded')
    const { id: waiting } = await intend(payment, 5000n)
    expect(await told(done('new', { ...whose, amount: 5000n }))).toBe('succeeded')
    expect((await getRefund(lab.db, waiting)).external_id).toBe('ext_new')
    const { id: named } = await intend(payment, 1000n)
    expect(await told(done(named, { refund_id: named, amount: 1000n }))).toBe('succeeded')
    expect(await getPayment(lab.db, payment.id)).toMatchObject({
      status: 'refunded',
      refunded_amount: 10_000n,
    })
  })

  test.each<[string, Partial<VendorRefund>, Partial<PaymentRow>]>([
    ['of more than is left', { amount: 6001n }, { status: 'partially_refunded', refunded_amount: 4000n }],
    ['in another currency', { currency: 'USD' }, {}],
    ['of nothing', { amount: 0n }, {}],
  ])('made in its cabinet %s is refused and told to people', async (_title, change, row) => {
    lab.follow({ refund: async () => done('x') })
    const payment = await paid(row)
    lab.notices.length = 0
    const word = done('cabinet', { payment_external_id: payment.external_id ?? '', ...change })
    const told = lab.db.transact((tx) => recordRefundWord(tx, lab.kit, 'scripted', word))
    expect(await told).toBe('refused: does not fit the payment')
    expect(lab.notices).toMatchObject([{ facts: { payment_id: payment.id, external_id: 'ext_cabinet' } }])
    expect(await getPayment(lab.db, payment.id)).toEqual(payment)
  })

  it('made in its cabinet of a payment nobody has told of waits for that word', async () => {
    const payment = await paid({ status: 'failed', captured_amount: 0n })
    const word = done('early', { payment_external_id: payment.external_id ?? '' })
    const told = lab.db.transact((tx) => recordRefundWord(tx, lab.kit, 'scripted', word))
    expect(await told).toBe('waits for its payment')
    expect(await getPayment(lab.db, payment.id)).toEqual(payment)
  })

  it('made in its cabinet counts once it is done, not before, and once when it is told again', async () => {
    const payment = await paid()
    const tell = (status: VendorRefund['status']) => {
      const word = done('cabinet', { payment_external_id: payment.external_id ?? '', status })
      return lab.db.transact((tx) => recordRefundWord(tx, lab.kit, 'scripted', word))
    }
    expect(await tell('pending')).toBe('foreign refund is pending')
    expect(await tell('failed')).toBe('foreign refund is failed')
    expect((await getPayment(lab.db, payment.id)).refunded_amount).toBe(0n)
    await Promise.all(Array.from({ length: 20 }, () => tell('succeeded')))
    expect(await tell('succeeded')).toBe('nothing_new')
    expect(await getPayment(lab.db, payment.id)).toMatchObject({
      status: 'partially_refunded',
      refunded_amount: 4000n,
    })
  })
})
