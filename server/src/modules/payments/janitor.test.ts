import { GatewayUnavailable, type VendorPayment } from '@kopilka/extension'
import { afterAll, beforeAll, beforeEach, describe, expect, it, test } from 'vitest'
import { openPaymentsLab, type PaymentsLab } from './payments.fixtures/lab.ts'
import { checkPayments, checkRefunds } from './janitor.ts'
import { getPayment } from './payments.ts'
import type { PaymentRow } from './payment-queries.ts'
import { getRefund } from './refunds.ts'
import { insertRefund } from './refund-queries.ts'
import { nextInboxAttempt, nextPaymentCheck, nextRefundCheck } from './schedule.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

let lab: PaymentsLab
beforeAll(async () => {
  lab = await openPaymentsLab()
})
afterAll(() => lab?.close())
beforeEach(async () => {
  lab.follow({})
  lab.notices.length = 0
  await lab.set({ next_check_at: null })
  await lab.db.pool.query('update payments.refunds set next_check_at = null')
})

const read = (id: string) => getPayment(lab.db, id)
const due = () => lab.clock.now()
const before = (ms: number) => new Date(lab.clock.now_ms() - ms)
const check = () => checkPayments(lab.db, lab.kit)
const intended = async (created_at: Date, change: object = {}): Promise<string> => {
  const id = await lab.intend()
  await lab.set({ created_at, next_check_at: due(), ...change }, id)
  return id
}
const wordOf = (payment: PaymentRow, status: VendorPayment['status']): VendorPayment => ({
  external_id: payment.external_id ?? `ext_${payment.id}`,
  payment_id: payment.id,
  status,
  amount: payment.amount,
  currency: payment.currency,
})

describe('an intent without an answer', () => {
  it('is asked for again while it is young, and given up when the vendor never knew it', async () => {
    let asked = 0
    lab.follow({
      createPayment: async () => {
        asked += 1
        return { status: 'pending', checkout_url: 'https://vendor.example/pay' }
      },
    })
    const [young, old] = [await intended(before(MINUTE_MS)), await intended(before(11 * MINUTE_MS))]
    expect(await check()).toBe(2)
    expect(await read(young)).toMatchObject({ status: 'pending', checkout_url: 'https://vendor.example/pay' })
    expect(await read(old)).toMatchObject({ status: 'failed', failure_reason: 'never_created' })
    expect(asked).toBe(1)
    expect(await check()).toBe(0)
  })

  it('is kept when the vendor knows it, also after its time', async () => {
    const id = await intended(before(2 * DAY_MS), { expires_at: before(DAY_MS), status: 'unknown' })
    const payment = await read(id)
    lab.follow({ getPayment: async () => wordOf(payment, 'pending') })
    await check()
    expect((await read(id)).status).not.toBe('failed')
  })

  it('stays unknown while the vendor is silent, without a line for people', async () => {
    const id = await intended(before(MINUTE_MS), { status: 'unknown' })
    lab.follow({ getPayment: () => Promise.reject(new GatewayUnavailable('timeout')) })
    await check()
    expect(await read(id)).toMatchObject({ status: 'unknown' })
    expect((await read(id)).next_check_at?.getTime()).toBe(lab.clock.now_ms() + 25_000)
    expect(lab.notices).toEqual([])
  })
})

describe('a payment nobody tells about', () => {
  it('is read from the vendor, and expires at its time when nobody paid', async () => {
    const paid = await lab.existing({ next_check_at: due() })
    const over = await lab.existing({ next_check_at: due(), expires_at: before(1) })
    lab.follow({
      getPayment: async (_config, { payment_id }) =>
        payment_id === paid.id ? wordOf(paid, 'succeeded') : wordOf(over, 'pending'),
    })
    await check()
    expect(await read(paid.id)).toMatchObject({ status: 'succeeded', next_check_at: null })
    expect(await read(over.id)).toMatchObject({ status: 'expired', failure_reason: 'expired' })
  })

  it('is left to reconciliation after eight days', async () => {
    const old = await lab.existing({
      next_check_at: due(),
      created_at: before(9 * DAY_MS),
      status: 'authorized',
    })
    await check()
    expect(await read(old.id)).toMatchObject({ status: 'authorized', next_check_at: null })
  })

  it('whose reading fails by a mistake of ours is told to people and tried again', async () => {
    const odd = await lab.existing({ next_check_at: due() })
    const good = await lab.existing({ next_check_at: due() })
    lab.follow({
      getPayment: async (_config, { payment_id }) => {
        if (payment_id === odd.id) throw new TypeError('not what was expected')
        return wordOf(good, 'succeeded')
      },
    })
    await check()
    expect(lab.notices).toEqual([
      { message: 'a payment could not be checked', facts: expect.objectContaining({ payment_id: odd.id }) },
    ])
    expect((await read(odd.id)).next_check_at).not.toBeNull()
    expect((await read(good.id)).status).toBe('succeeded')
  })
})

describe('a refund nobody tells about', () => {
  const refundOf = async (change: object = {}): Promise<{ id: string; payment: PaymentRow }> => {
    const payment = await lab.existing({ status: 'succeeded', captured_amount: 10_000n })
    const id = `re_${payment.id}`
    await lab.db.transact((tx) =>
      insertRefund(tx, {
        id,
        payment_id: payment.id,
        status: 'pending',
        amount: 4000n,
        currency: 'RUB',
        reason: 'asked',
        origin: 'api',
        is_full: false,
        external_id: null,
        receipt: null,
        breakdown: null,
        requested_by: 'key_1',
        next_check_at: due(),
        created_at: before(MINUTE_MS),
        finished_at: null,
        ...change,
      }),
    )
    return { id, payment }
  }
  const look = () => checkRefunds(lab.db, lab.kit)
  const done = (refund_id: string) => ({
    external_id: `ext_${refund_id}`,
    refund_id,
    status: 'succeeded' as const,
    amount: 4000n,
    currency: 'RUB',
  })

  it('is asked for when it was not yet, read when it may have been, repeated where it cannot', async () => {
    const calls: string[] = []
    const [fresh, asked, unread] = [
      await refundOf(),
      await refundOf({ status: 'unknown' }),
      await refundOf({ status: 'unknown' }),
    ]
    lab.follow({
      refund: async (_config, { refund_id }) => {
        calls.push(`refund ${refund_id}`)
        return done(refund_id)
      },
      getRefund: async (_config, { refund_id }) => {
        calls.push(`get ${refund_id}`)
        return refund_id === asked.id ? done(refund_id) : undefined
      },
    })
    expect(await look()).toBe(3)
    expect(calls.toSorted()).toEqual(
      [`refund ${fresh.id}`, `get ${asked.id}`, `get ${unread.id}`, `refund ${unread.id}`].toSorted(),
    )
    for (const { id, payment } of [fresh, asked, unread]) {
      expect((await getRefund(lab.db, id)).status).toBe('succeeded')
      expect(await read(payment.id)).toMatchObject({ status: 'partially_refunded', refunded_amount: 4000n })
    }
    const blind = await refundOf({ status: 'unknown' })
    lab.follow({ refund: async (_config, { refund_id }) => done(refund_id) })
    await look()
    expect((await getRefund(lab.db, blind.id)).status).toBe('succeeded')
  })

  it('stays as it is while the vendor is silent, and is told to people when we are wrong', async () => {
    const { id } = await refundOf({ status: 'unknown' })
    lab.follow({
      refund: () => Promise.reject(new GatewayUnavailable('timeout')),
      getRefund: () => Promise.reject(new GatewayUnavailable('timeout')),
    })
    await look()
    expect(lab.notices).toEqual([])
    expect((await getRefund(lab.db, id)).status).toBe('unknown')
    const odd = await refundOf()
    lab.follow({})
    await look()
    expect(lab.notices).toEqual([
      { message: 'a refund could not be checked', facts: expect.objectContaining({ refund_id: odd.id }) },
    ])
  })

  it('waits where its gateway is not set up any more', async () => {
    const { id, payment } = await refundOf({ status: 'unknown' })
    await lab.set({ gateway: 'long-gone' }, payment.id)
    await look()
    expect((await getRefund(lab.db, id)).status).toBe('unknown')
  })
})

describe('the schedule', () => {
  const now = new Date('2026-03-01T00:00:00Z')
  const aged = (ms: number) => new Date(now.getTime() - ms)
  const pause = (next: Date | null): number | null =>
    next === null ? null : (next.getTime() - now.getTime()) / 1000

  test.each([
    ['unknown', 1000, 3],
    ['unknown', DAY_MS, 25],
    ['expired', DAY_MS, 6 * 3600],
    ['expired', 9 * DAY_MS, null],
    ['pending', 1000, 25],
    ['pending', 2 * 3_600_000, 300],
    ['authorized', 2 * DAY_MS, 3600],
    ['authorized', 9 * DAY_MS, null],
    ['succeeded', 1000, null],
  ] as const)('of a payment that is %s for %i ms', (status, age_ms, expected) => {
    expect(pause(nextPaymentCheck(status, aged(age_ms), now))).toBe(expected)
  })

  test.each([
    ['unknown', 1000, 3],
    ['unknown', DAY_MS, 25],
    ['pending', 1000, 5],
    ['pending', 60_000, 30],
    ['pending', 2 * 3_600_000, 600],
    ['pending', 2 * DAY_MS, 6 * 3600],
  ] as const)('of a refund that is %s for %i ms', (status, age_ms, expected) => {
    expect(pause(nextRefundCheck(status, aged(age_ms), now))).toBe(expected)
  })

  test('of a notification that cannot be handled: doubled, at most 25 seconds', () => {
    const pauses = [1, 2, 3, 6, 50].map((attempts) => pause(nextInboxAttempt(attempts, now)))
    expect(pauses).toEqual([1, 2, 4, 25, 25])
  })
})
