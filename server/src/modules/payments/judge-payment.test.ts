import type { VendorPayment } from '@kopilka/extension'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { judgePayment, type JudgedPayment, type Verdict } from './judge-payment.ts'
import { mayMove, PAYMENT_STATUSES, type PaymentStatus } from './payment-status.ts'

const expires_at = new Date('2026-03-02T12:00:00Z')
const ours: JudgedPayment = {
  id: 'pay_1',
  number: 7,
  order_id: 'ord_1',
  gateway: 'yookassa',
  is_test: true,
  status: 'pending',
  amount: 20_000n,
  currency: 'RUB',
  external_id: 'v-1',
  may_capture_now: true,
  expires_at,
}
const word: VendorPayment = {
  external_id: 'v-1',
  payment_id: 'pay_1',
  payment_number: 7,
  order_id: 'ord_1',
  status: 'succeeded',
  amount: 20_000n,
  currency: 'RUB',
  is_test: true,
  receiver_matches: true,
  paid_at: new Date('2026-03-01T12:00:00Z'),
}
const judge = (our: Partial<JudgedPayment>, their: Partial<VendorPayment>, gateway = 'yookassa'): Verdict =>
  judgePayment({ ...ours, ...our }, { ...word, ...their }, { gateway })

describe('judging a vendor’s word about a payment', () => {
  it('moves a payment that was paid exactly as asked', () => {
    expect(judge({}, {})).toEqual({ kind: 'move', status: 'succeeded', captured_amount: 20_000n })
  })

  it.each([
    ['one ruble for an order of two hundred', { amount: 100n }, 'wrong_amount'],
    ['a kopeck too much', { amount: 20_001n }, 'wrong_amount'],
    ['nothing at all', { amount: 0n }, 'wrong_amount'],
    ['another currency', { currency: 'USD' }, 'wrong_currency'],
    ['another order', { order_id: 'ord_2' }, 'wrong_order'],
    ['somebody else’s account', { receiver_matches: false }, 'wrong_receiver'],
    ['another payment at the vendor', { external_id: 'v-2' }, 'wrong_external_id'],
  ] as const)('sets %s aside for a person', (_title, their, reason) => {
    expect(judge({}, their)).toEqual({ kind: 'mismatch', reason })
  })

  it.each([
    ['another gateway', {}, 'stripe', 'wrong_gateway'],
    ['a payment of another name', { payment_id: 'pay_2' }, 'yookassa', 'wrong_payment'],
    ['a payment of another number', { payment_number: 8 }, 'yookassa', 'wrong_payment'],
    ['live money in a test payment', { is_test: false }, 'yookassa', 'wrong_mode'],
  ] as const)('refuses %s without a trace on the payment', (_title, their, gateway, reason) => {
    expect(judge({}, their, gateway)).toEqual({ kind: 'refuse', reason })
  })

  it('refuses a differing word that is not about money', () => {
    expect(judge({}, { status: 'pending', amount: 1n })).toEqual({ kind: 'refuse', reason: 'wrong_amount' })
    expect(judge({}, { status: 'canceled', currency: 'USD' })).toEqual({
      kind: 'refuse',
      reason: 'wrong_currency',
    })
  })

  it('sets aside what was paid after the order’s time, and takes what was only told late', () => {
    const late = new Date(expires_at.getTime() + 1)
    expect(judge({}, { paid_at: late })).toEqual({ kind: 'mismatch', reason: 'order_expired' })
    expect(judge({ status: 'expired' }, {})).toMatchObject({ kind: 'move', status: 'succeeded' })
    const { paid_at: _paid_at, ...untimed } = word
    expect(judgePayment({ ...ours, status: 'expired' }, untimed, { gateway: 'yookassa' })).toEqual({
      kind: 'mismatch',
      reason: 'order_expired',
    })
  })

  it('takes less than was authorized in a two-stage payment, and never more', () => {
    expect(judge({ may_capture_now: false, status: 'authorized' }, { amount: 15_000n })).toEqual({
      kind: 'move',
      status: 'succeeded',
      captured_amount: 15_000n,
    })
    expect(judge({ may_capture_now: false, status: 'authorized' }, { amount: 20_001n })).toEqual({
      kind: 'mismatch',
      reason: 'wrong_amount',
    })
  })

  it('does nothing for a repeat and for anything after the money was taken', () => {
    for (const status of ['succeeded', 'partially_refunded', 'refunded', 'mismatch'] as const) {
      for (const their of ['pending', 'authorized', 'succeeded', 'canceled', 'failed'] as const) {
        expect(judge({ status }, { status: their })).toEqual({ kind: 'nothing' })
      }
    }
  })
})

describe('the order of statuses', () => {
  const told: PaymentStatus[] = [
    'pending',
    'requires_action',
    'authorized',
    'failed',
    'canceled',
    'succeeded',
  ]
  const after = (words: readonly PaymentStatus[]): PaymentStatus =>
    words.reduce<PaymentStatus>((status, next) => (mayMove(status, next) ? next : status), 'pending')

  it('ends the same whatever the order and the repeats of the words', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...told), { maxLength: 6 }),
        fc.array(fc.nat(5), { maxLength: 6 }),
        (words, repeats) => {
          const expected = after(words)
          const noisy = [...words, ...repeats.flatMap((index) => words[index] ?? [])].toSorted(() => 1)
          expect(after(noisy.toReversed())).toBe(expected)
        },
      ),
    )
  })

  it('never leaves what is settled or waits for a person', () => {
    for (const from of ['succeeded', 'partially_refunded', 'refunded', 'mismatch'] as const) {
      for (const to of PAYMENT_STATUSES) expect(mayMove(from, to)).toBe(false)
    }
  })
})
