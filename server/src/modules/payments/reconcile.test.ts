import type { VendorPayment, VendorRefund } from '@kopilka/extension'
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { PAYMENT_STATUSES } from './payment-status.ts'
import { comparePayments, compareRefunds, type OwnPayment, type OwnRefund } from './reconcile.ts'

const paid: OwnPayment = {
  id: 'pay_1',
  external_id: 'v-1',
  status: 'succeeded',
  amount: 20_000n,
  captured_amount: 20_000n,
  refunded_amount: 0n,
  currency: 'RUB',
}
const told: VendorPayment = { external_id: 'v-1', status: 'succeeded', amount: 20_000n, currency: 'RUB' }
const back: OwnRefund = {
  id: 're_1',
  external_id: 'v-r1',
  status: 'succeeded',
  amount: 5000n,
  currency: 'RUB',
}
const told_back: VendorRefund = {
  external_id: 'v-r1',
  status: 'succeeded',
  amount: 5000n,
  currency: 'RUB',
}
const payments = (ours: Partial<OwnPayment>, theirs: Partial<VendorPayment>) =>
  comparePayments([{ ...paid, ...ours }], [{ ...told, ...theirs }])
const refunds = (ours: Partial<OwnRefund>, theirs: Partial<VendorRefund>) =>
  compareRefunds([{ ...back, ...ours }], [{ ...told_back, ...theirs }])

describe('comparing payments', () => {
  test.each<[string, Partial<OwnPayment>, Partial<VendorPayment>]>([
    ['that are the same on both sides', {}, {}],
    ['whose id there we never learnt', { external_id: null }, { payment_id: 'pay_1' }],
    ['that wait for a person already', { status: 'mismatch', captured_amount: 9n }, { amount: 9n }],
    ['that nobody paid', { status: 'expired', captured_amount: 0n }, { status: 'pending' }],
    ['that were given back in part', { status: 'partially_refunded', refunded_amount: 7n }, {}],
    ['whose refunds add up', { refunded_amount: 7n }, { refunded_amount: 7n }],
  ])('finds nothing in payments %s', (_title, ours, theirs) => {
    expect(payments(ours, theirs)).toEqual([])
  })

  test.each<[string, Partial<OwnPayment>, Partial<VendorPayment>, object]>([
    [
      'paid there only',
      { status: 'pending', captured_amount: 0n },
      {},
      { kind: 'payment_status_differs', ours: 'pending', theirs: 'succeeded' },
    ],
    [
      'paid here only',
      {},
      { status: 'canceled' },
      { kind: 'payment_status_differs', ours: 'succeeded', theirs: 'canceled' },
    ],
    [
      'of another amount',
      {},
      { amount: 19_999n },
      { kind: 'payment_amount_differs', ours: '20000 RUB', theirs: '19999 RUB' },
    ],
    [
      'of another currency',
      {},
      { currency: 'USD' },
      { kind: 'payment_amount_differs', ours: '20000 RUB', theirs: '20000 USD' },
    ],
    [
      'of which more went back there',
      { refunded_amount: 100n },
      { refunded_amount: 300n },
      { kind: 'refunded_amount_differs', ours: '100', theirs: '300' },
    ],
  ])('names one %s, and what may be done', (_title, ours, theirs, difference) => {
    const found = payments(ours, theirs)
    expect(found).toMatchObject([{ id: 'pay_1', external_id: 'v-1', ...difference }])
    expect(found[0]?.proposed.length).toBeGreaterThan(20)
  })

  it('names money that is only there or only here, and nothing else that is on one side', () => {
    const unpaid: OwnPayment = { ...paid, id: 'pay_2', external_id: 'v-2', status: 'failed' }
    const held: OwnPayment = { ...paid, id: 'pay_3', external_id: null, status: 'authorized' }
    const theirs: VendorPayment[] = [
      { ...told, external_id: 'v-8', status: 'pending' },
      { ...told, external_id: 'v-9', status: 'authorized' },
    ]
    expect(comparePayments([paid, unpaid, held], theirs)).toMatchObject([
      { kind: 'payment_missing_here', id: null, external_id: 'v-9', theirs: 'authorized, 20000 RUB' },
      { kind: 'payment_missing_at_vendor', id: 'pay_1', external_id: 'v-1', ours: 'succeeded' },
      { kind: 'payment_missing_at_vendor', id: 'pay_3', external_id: null, ours: 'authorized' },
    ])
  })

  it('takes a second charge under our id for another payment than the one we know', () => {
    const second = { ...told, external_id: 'v-second', payment_id: 'pay_1' }
    expect(comparePayments([paid], [told, second])).toMatchObject([
      { kind: 'payment_missing_here', id: null, external_id: 'v-second' },
    ])
  })

  it('never leaves unsaid that only one side has the money', () => {
    const statuses = PAYMENT_STATUSES.filter((one) => one !== 'mismatch')
    fc.assert(
      fc.property(fc.constantFrom(...statuses), fc.bigInt(1n, 10n ** 12n), (status, amount) => {
        const settled = ['succeeded', 'partially_refunded', 'refunded'].includes(status)
        const ours = { ...paid, status, amount, captured_amount: settled ? amount : 0n }
        const kinds = comparePayments([ours], [{ ...told, amount }]).map(({ kind }) => kind)
        expect(kinds).toEqual(settled ? [] : ['payment_status_differs'])
      }),
    )
  })
})

describe('comparing refunds', () => {
  test.each<[string, Partial<OwnRefund>, Partial<VendorRefund>]>([
    ['that are the same on both sides', {}, {}],
    ['whose id there we never learnt', { external_id: null }, { refund_id: 're_1' }],
    ['whose outcome nobody knows yet', { status: 'unknown' }, { status: 'pending' }],
    ['that were refused on both sides', { status: 'failed' }, { status: 'failed' }],
  ])('finds nothing in refunds %s', (_title, ours, theirs) => {
    expect(refunds(ours, theirs)).toEqual([])
  })

  test.each<[string, Partial<OwnRefund>, Partial<VendorRefund>, object]>([
    [
      'another amount',
      {},
      { amount: 5001n },
      { kind: 'refund_amount_differs', ours: '5000 RUB', theirs: '5001 RUB' },
    ],
    [
      'another currency',
      {},
      { currency: 'USD' },
      { kind: 'refund_amount_differs', ours: '5000 RUB', theirs: '5000 USD' },
    ],
    [
      'another outcome',
      { status: 'pending' },
      { status: 'succeeded' },
      { kind: 'refund_status_differs', ours: 'pending', theirs: 'succeeded' },
    ],
    [
      'a success here that was refused there',
      {},
      { status: 'failed' },
      { kind: 'refund_status_differs', ours: 'succeeded', theirs: 'failed' },
    ],
  ])('names %s, and what may be done', (_title, ours, theirs, difference) => {
    const found = refunds(ours, theirs)
    expect(found).toMatchObject([{ id: 're_1', external_id: 'v-r1', ...difference }])
    expect(found[0]?.proposed.length).toBeGreaterThan(20)
  })

  it('names money that went back on one side only, but no refused try and no lost dispute', () => {
    const lost: OwnRefund = { ...back, id: 're_2', external_id: 'dispute:du_1' }
    const refused: OwnRefund = { ...back, id: 're_3', external_id: 'refused:re_3', status: 'failed' }
    const theirs: VendorRefund[] = [
      { ...told_back, external_id: 'v-r8', status: 'failed' },
      { ...told_back, external_id: 'v-r9' },
    ]
    expect(compareRefunds([back, lost, refused], theirs)).toMatchObject([
      { kind: 'refund_missing_here', id: null, external_id: 'v-r9', theirs: '5000 RUB' },
      { kind: 'refund_missing_at_vendor', id: 're_1', external_id: 'v-r1', ours: '5000 RUB' },
    ])
  })
})
