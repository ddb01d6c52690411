import { GatewayUnavailable, type Gateway, type VendorEvent, type VendorPayment } from '@kopilka/extension'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createLog } from '#kernel/log'
import { openPaymentsLab, type PaymentsLab } from './payments.fixtures/lab.ts'
import { inboxEventFailed, paymentSucceeded } from './events.ts'
import { createInboxRounds, drainInbox, INBOX_ROUND_MAX, receiveWebhook, storeEvents } from './inbox.ts'
import { createInboxLoop, createInboxStore } from './inbox-loop.ts'
import { eventText } from './inbox-queries.ts'
import {
  countFailedEvents,
  getInboxEvent,
  listInboxEvents,
  retryFailedEvents,
  retryInboxEvent,
} from './inbox-review.ts'
import { paymentInvariants } from './invariants.ts'
import { INBOX_ATTEMPTS_MAX, nextInboxAttempt } from './schedule.ts'
import { getPayment } from './payments.ts'
import type { PaymentRow } from './payment-queries.ts'

let lab: PaymentsLab
const poisoned = new Set<string>()
/** What the granting of a payment waits for. */
const held_up = new Map<string, () => Promise<void>>()
/** Events of ours, as they were published. */
const alarms: string[] = []
beforeAll(async () => {
  lab = await openPaymentsLab()
  lab.kit.events.within(inboxEventFailed, async (_tx, failed) => {
    alarms.push(...failed.map(({ inbox_event_id, error }) => `${inbox_event_id} ${error}`))
  })
  lab.kit.events.within(paymentSucceeded, async (_tx, payments) => {
    for (const { payment_id } of payments) await held_up.get(payment_id)?.()
    if (payments.some(({ payment_id }) => poisoned.has(payment_id))) throw new Error('it cannot be granted')
  })
})
afterAll(() => lab?.close())
beforeEach(async () => {
  lab.notices.length = 0
  await lab.db.pool.query('delete from payments.inbox')
})

const request = {
  method: 'POST',
  path: '/',
  headers: {},
  query: {},
  raw_body: Buffer.from('{}'),
  remote_address: '::1',
}
let count = 0
/** A notification as a gateway reads it from its bytes. */
type News = VendorEvent extends infer E
  ? E extends VendorEvent
    ? Omit<E, 'external_event_id' | 'type'>
    : never
  : never
const receive = async (news: News | undefined, vendor: Partial<Gateway> = {}): Promise<void> => {
  count += 1
  const event = { ...news, external_event_id: `evt_${count}`, type: 'news' } as VendorEvent
  lab.follow({}, { ...vendor, parseWebhook: () => ({ verdict: 'accepted', events: news ? [event] : [] }) })
  await receiveWebhook(lab.kit, storeEvents(lab.db), 'scripted', request)
}
const drain = () => drainInbox(lab.db, lab.kit)
const rows = () =>
  lab.db
    .selectFrom('payments.inbox')
    .select(['status', 'outcome', 'error', 'attempts'])
    .orderBy('id')
    .execute()
const statuses = async (): Promise<Record<string, number>> =>
  Object.fromEntries(
    [...Map.groupBy(await rows(), ({ status }) => status)].map(([status, all]) => [status, all.length]),
  )
const outcomeOf = async (news: News, vendor: Partial<Gateway> = {}): Promise<string | null | undefined> => {
  await receive(news, vendor)
  await drain()
  return (await rows()).at(-1)?.outcome
}
const word = (payment: PaymentRow, change: Partial<VendorPayment> = {}): VendorPayment => ({
  external_id: payment.external_id ?? '',
  status: 'succeeded',
  amount: payment.amount,
  currency: payment.currency,
  ...change,
})
const refund = (payment: PaymentRow, change: object = {}) => ({
  external_id: `ref_${payment.id}`,
  payment_external_id: payment.external_id ?? '',
  status: 'succeeded' as const,
  amount: 4000n,
  currency: 'RUB',
  ...change,
})
const paid = () => lab.existing({ status: 'succeeded', captured_amount: 10_000n })

describe('the door for notifications', () => {
  it('is not there for a gateway that is not set up, and keeps nothing of what is refused', async () => {
    const store = storeEvents(lab.db)
    await expect(receiveWebhook(lab.kit, store, 'nobody', request)).rejects.toMatchObject({
      code: 'not_found',
    })
    lab.follow({}, { parseWebhook: () => ({ verdict: 'refused', status: 401, reason: 'bad signature' }) })
    expect(await receiveWebhook(lab.kit, store, 'scripted', request)).toMatchObject({ status: 401 })
    expect(lab.notices).toEqual([
      { message: 'a notification was refused', facts: expect.objectContaining({ reason: 'bad signature' }) },
    ])
    await store([])
    expect(await rows()).toEqual([])
  })

  it('answers a question of the vendor’s in its words without storing anything', async () => {
    const answer = { status: 202, content_type: 'text/x', body: 'yes' }
    lab.follow({}, { parseWebhook: () => ({ verdict: 'accepted', events: [], answer }) })
    expect(await receiveWebhook(lab.kit, storeEvents(lab.db), 'scripted', request)).toEqual(answer)
    await receive(undefined)
    expect(await rows()).toEqual([])
    expect(await drain()).toBe(0)
  })
})

describe('a notification about a payment', () => {
  it('that is signed is believed; a hint is read from the vendor first', async () => {
    const [signed, hinted] = [await lab.existing(), await lab.existing()]
    const told = { kind: 'payment', trust: 'signed', payment: word(signed) } as const
    expect(await outcomeOf(told)).toBe('succeeded')
    expect(await outcomeOf(told)).toBe('nothing_new')
    const hint = { kind: 'payment', trust: 'hint', external_id: hinted.external_id ?? '' } as const
    const lie = { ...hint, payment: word(hinted) }
    expect(await outcomeOf(lie, { getPayment: async () => word(hinted, { status: 'pending' }) })).toBe(
      'nothing_new',
    )
    expect(await outcomeOf(hint, { getPayment: async () => word(hinted) })).toBe('succeeded')
    expect(await outcomeOf(hint)).toBe('unknown_to_vendor')
  })

  it('of somebody else is told to people and changes nothing', async () => {
    const stranger = { kind: 'payment', trust: 'hint', external_id: 'ext_stranger' } as const
    const foreign = async () =>
      ({ external_id: 'ext_stranger', status: 'succeeded', amount: 1n, currency: 'RUB' }) as const
    expect(await outcomeOf(stranger, { getPayment: foreign })).toBe('not_ours')
    expect(await outcomeOf({ kind: 'payment', trust: 'hint', payment_id: 'pay_absent' })).toBe('not_ours')
    expect(lab.notices).toHaveLength(1)
  })

  it('that cannot be read waits and is tried again; a mistake of ours is told', async () => {
    const payment = await lab.existing()
    const hint = { kind: 'payment', trust: 'hint', external_id: payment.external_id ?? '' } as const
    await receive(hint, { getPayment: () => Promise.reject(new GatewayUnavailable('timeout')) })
    await drain()
    expect(await rows()).toMatchObject([{ status: 'received', error: expect.stringContaining('timeout') }])
    expect(lab.notices).toEqual([])
    lab.clock.advance(30_000)
    lab.follow({ getPayment: () => Promise.reject(new TypeError('a mistake')) })
    await drain()
    expect(lab.notices.map(({ message }) => message)).toEqual(['reading a payment from its vendor failed'])
    await lab.db.pool.query(`update payments.inbox set attempts = ${INBOX_ATTEMPTS_MAX - 1}`)
    lab.clock.advance(30_000)
    await drain()
    expect(await rows()).toMatchObject([{ status: 'failed', attempts: INBOX_ATTEMPTS_MAX }])
  })

  it('that poisons its batch is put aside alone', async () => {
    const [bad, good] = [await lab.existing(), await lab.existing()]
    poisoned.add(bad.id)
    await receive({ kind: 'payment', trust: 'signed', payment: word(bad) })
    await receive({ kind: 'payment', trust: 'signed', payment: word(good) })
    await drain()
    expect(await rows()).toMatchObject([
      { status: 'received', error: 'it cannot be granted' },
      { status: 'handled', outcome: 'succeeded' },
    ])
    expect((await getPayment(lab.db, bad.id)).status).toBe('pending')
    expect((await getPayment(lab.db, good.id)).status).toBe('succeeded')
    poisoned.clear()
    lab.clock.advance(30_000)
    await drain()
    expect((await getPayment(lab.db, bad.id)).status).toBe('succeeded')
  })
})

describe('a notification about a refund', () => {
  it('made at the vendor is recorded once, as far as it fits its payment', async () => {
    const payment = await paid()
    const told = { kind: 'refund', trust: 'signed', external_id: 'x', refund: refund(payment) } as const
    expect(await outcomeOf(told)).toBe('recorded a refund made at the vendor')
    expect(await outcomeOf(told)).toBe('nothing_new')
    const more = (change: object) => ({
      ...told,
      refund: refund(payment, { external_id: 'ref_more', ...change }),
    })
    expect(await outcomeOf(more({ amount: 6001n }))).toBe('refused: does not fit the payment')
    expect(await outcomeOf(more({ amount: 0n }))).toBe('refused: does not fit the payment')
    expect(await outcomeOf(more({ currency: 'USD' }))).toBe('refused: does not fit the payment')
    expect(await outcomeOf(more({ status: 'pending' }))).toBe('foreign refund is pending')
    expect(await outcomeOf(more({ payment_external_id: 'ext_nobody' }))).toBe('not_ours')
    expect(await getPayment(lab.db, payment.id)).toMatchObject({ refunded_amount: 4000n })
  })

  it('that overtook its payment waits for it, has the vendor asked, and is recorded then', async () => {
    const payment = await lab.existing()
    const external_id = `ref_${payment.id}`
    const whole = refund(payment, { amount: 10_000n })
    await receive({ kind: 'refund', trust: 'signed', external_id, refund: whole })
    await drain()
    await drain()
    expect(await rows()).toMatchObject([{ status: 'received', error: 'waits for its payment', attempts: 1 }])
    const standing = await getPayment(lab.db, payment.id)
    expect(standing).toMatchObject({ status: 'pending', next_check_at: lab.clock.now() })
    await receive({ kind: 'payment', trust: 'signed', payment: word(payment) })
    await drain()
    expect((await getPayment(lab.db, payment.id)).status).toBe('succeeded')
    lab.clock.advance(30_000)
    await drain()
    expect((await rows()).map(({ status }) => status)).toEqual(['handled', 'handled'])
    expect(await getPayment(lab.db, payment.id)).toMatchObject({
      status: 'refunded',
      refunded_amount: 10_000n,
    })
    const never = await lab.existing()
    const hint = { kind: 'refund', trust: 'hint', external_id: 'ref_never' } as const
    await receive(hint, { getRefund: async () => refund(never) })
    await lab.db.pool.query(
      `update payments.inbox set attempts = ${INBOX_ATTEMPTS_MAX} where status = 'received'`,
    )
    await drain()
    expect((await rows()).at(-1)).toMatchObject({ status: 'failed', error: 'waits for its payment' })
  })

  it('of money that bought nothing is recorded, and the mismatch stays one', async () => {
    const payment = await lab.existing({
      status: 'mismatch',
      mismatch_reason: 'order_expired',
      captured_amount: 10_000n,
    })
    const whole = refund(payment, { amount: 10_000n })
    expect(await outcomeOf({ kind: 'refund', trust: 'signed', external_id: 'x', refund: whole })).toBe(
      'recorded a refund made at the vendor',
    )
    expect(await getPayment(lab.db, payment.id)).toMatchObject({
      status: 'mismatch',
      refunded_amount: 10_000n,
    })
  })

  it('that is not signed is read first, where the gateway can', async () => {
    const payment = await paid()
    const hint = {
      kind: 'refund',
      trust: 'hint',
      external_id: 'ref_1',
      payment_external_id: 'ext_1',
    } as const
    expect(await outcomeOf(hint)).toBe('gateway_cannot_read_refunds')
    expect(await outcomeOf(hint, { getRefund: async () => undefined })).toBe('unknown_to_vendor')
    expect(await outcomeOf(hint, { getRefund: async () => refund(payment) })).toBe(
      'recorded a refund made at the vendor',
    )
  })
})

describe('a notification about something else', () => {
  it('that contests a payment by another of its ids is asked for its own', async () => {
    const payment = await paid()
    const dispute = (payment_external_id: string) =>
      ({
        kind: 'dispute',
        trust: 'signed',
        dispute: {
          external_id: 'dp_1',
          payment_external_id,
          status: 'open',
          amount: 10_000n,
          currency: 'RUB',
          reason: 'fraudulent',
        },
      }) as const
    expect(await outcomeOf(dispute('pi_other_name'))).toBe('unknown_to_vendor')
    expect(await outcomeOf(dispute('pi_other_name'), { getPayment: async () => word(payment) })).toBe('open')
    expect(await outcomeOf(dispute(payment.external_id ?? ''))).toBe('nothing_new')
  })

  it('that contests a payment whose success was not told yet waits for it', async () => {
    const payment = await lab.existing()
    const dispute = {
      external_id: 'dp_early',
      payment_external_id: payment.external_id ?? '',
      status: 'open',
      amount: 10_000n,
      currency: 'RUB',
      reason: 'fraudulent',
    } as const
    await receive({ kind: 'dispute', trust: 'signed', dispute })
    await drain()
    expect(await rows()).toMatchObject([{ status: 'received', error: 'waits for its payment' }])
    await receive({ kind: 'payment', trust: 'signed', payment: word(payment) })
    lab.clock.advance(30_000)
    await drain()
    await drain()
    lab.clock.advance(30_000)
    await drain()
    expect((await rows()).map(({ outcome }) => outcome)).toEqual(['open', 'succeeded'])
  })

  it('is kept with its bytes and said to have no handler', async () => {
    const news = { kind: 'dispute', trust: 'hint', dispute: { payment_external_id: 'x' } } as unknown as News
    await receive(news)
    await lab.db.pool.query(`update payments.inbox set event = '{"kind":"else","trust":"signed"}'`)
    await drain()
    expect((await rows())[0]?.outcome).toBe('no handler for else')
  })
})

describe('rounds of the inbox', () => {
  it('go on with other gateways while the vendor of one hangs, and come back to it', async () => {
    let woken = 0
    let answer: (payment: VendorPayment | undefined) => void = () => undefined
    const hanging = new Promise<VendorPayment | undefined>((resolve) => {
      answer = resolve
    })
    const failures: unknown[] = []
    const rounds = createInboxRounds(lab.db, lab.kit, {
      wake: () => void (woken += 1),
      on_error: (error) => void failures.push(error),
    })
    const slow = await lab.existing()
    const external_id = slow.external_id ?? ''
    await receive({ kind: 'payment', trust: 'hint', external_id }, { getPayment: () => hanging })
    expect(await rounds.round()).toBe(1)

    const quick = await lab.existing({ gateway: 'other' })
    const event: VendorEvent = {
      kind: 'payment',
      trust: 'signed',
      external_event_id: 'evt_other',
      type: 'news',
      payment: word(quick),
    }
    await storeEvents(lab.db)([
      {
        gateway: 'other',
        external_event_id: 'evt_other',
        type: 'news',
        trust: 'signed',
        event: eventText(event),
        raw_body: Buffer.from('{}'),
        remote_address: '::1',
        received_at: lab.clock.now(),
      },
    ])
    await receive({ kind: 'payment', trust: 'hint', external_id }, { getPayment: () => hanging })
    expect(await rounds.round()).toBe(1)
    expect((await getPayment(lab.db, quick.id)).status).toBe('succeeded')
    expect((await rows()).map(({ status }) => status)).toEqual(['handling', 'handled', 'received'])

    answer(word(slow))
    await rounds.settled()
    expect(woken).toBe(1)
    expect((await getPayment(lab.db, slow.id)).status).toBe('succeeded')
    expect(await rounds.round()).toBe(1)
    await rounds.settled()
    expect((await rows()).map(({ status }) => status)).toEqual(['handled', 'handled', 'handled'])
    expect(failures).toEqual([])
  })
})

describe('the loop of the inbox', () => {
  const stored = (index: number, event: Partial<VendorEvent>) => ({
    gateway: 'scripted',
    external_event_id: `evt_heap_${index}`,
    type: 'news',
    trust: 'signed' as const,
    event: eventText({
      external_event_id: `evt_heap_${index}`,
      type: 'news',
      trust: 'signed',
      ...event,
    } as never),
    raw_body: Buffer.from('{}'),
    remote_address: '::1',
    received_at: lab.clock.now(),
  })

  it('has a second worker for a heap: it goes on while the first waits, all are handled once', async () => {
    const slow = await lab.existing()
    const [is_reached, may_go_on] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    held_up.set(slow.id, async () => {
      is_reached.resolve()
      await may_go_on.promise
    })
    const loop = createInboxLoop(lab.db, lab.kit, createLog({ write: () => undefined, is_readable: false }))
    const store = createInboxStore(lab.db, () => undefined)
    // All of them prove what they say: nobody has to be asked.
    const strange = { ...word(slow), external_id: 'of_somebody_else' }
    const heap = Array.from({ length: 2 * INBOX_ROUND_MAX + 50 }, (_, index) =>
      stored(index, {
        kind: 'payment',
        trust: 'signed',
        payment: index === INBOX_ROUND_MAX ? word(slow) : strange,
      }),
    )
    await Promise.all(heap.map((one) => store.store([one])))
    await store.stop()
    loop.start()
    await is_reached.promise
    // All but the round that is held up.
    await expect
      .poll(async () => (await statuses())['handled'], { timeout: 30_000 })
      .toBeGreaterThanOrEqual(INBOX_ROUND_MAX + 50)
    may_go_on.resolve()
    await expect.poll(async () => (await statuses())['handled'], { timeout: 30_000 }).toBe(heap.length)
    await loop.stop()
    expect((await getPayment(lab.db, slow.id)).status).toBe('succeeded')
    expect(lab.notices).toHaveLength(heap.length - 1)
  })
})

describe('a notification that cannot be handled', () => {
  /** Given up after a vendor that did not answer; answers its id. */
  const giveUp = async (trust: 'signed' | 'hint' = 'hint'): Promise<string> => {
    const payment = await lab.existing()
    await receive({ kind: 'payment', trust, external_id: payment.external_id ?? '' })
    lab.follow({ getPayment: () => Promise.reject(new GatewayUnavailable('down for days')) })
    await lab.db.pool.query(`update payments.inbox set attempts = ${INBOX_ATTEMPTS_MAX - 1}
      where status = 'received'`)
    await drain()
    const [last] = await listInboxEvents(lab.db, { status: 'failed' }, { limit: 1 })
    return String(last?.id)
  }
  const now = () => lab.clock.now()

  it('is tried for eight days, ever more rarely, and never more than a minute late in the first hour', () => {
    let at = new Date(0)
    const pauses: number[] = []
    for (let attempts = 1; attempts < INBOX_ATTEMPTS_MAX; attempts++) {
      const next = nextInboxAttempt(attempts, at)
      pauses.push(next.getTime() - at.getTime())
      at = next
    }
    expect(pauses).toEqual(pauses.toSorted((a, b) => a - b))
    expect([pauses[0], pauses[60], pauses.at(-1)]).toEqual([1000, 25_000, 3_600_000])
    expect(at.getTime() / 86_400_000).toBeGreaterThan(7.9)
  })

  it('is given up with an alarm, and opened again by a repeat of its vendor, signed or not', async () => {
    for (const trust of ['signed', 'hint'] as const) {
      alarms.length = 0
      const id = await giveUp(trust)
      expect(alarms).toEqual([expect.stringMatching(`^${id} .*down for days$`)])
      expect(await countFailedEvents(lab.db)).toEqual({ scripted: 1 })
      const { external_event_id } = await getInboxEvent(lab.db, id)
      const event: VendorEvent = { kind: 'payment', trust, external_event_id, type: 'news' }
      lab.follow({}, { parseWebhook: () => ({ verdict: 'accepted', events: [event] }) })
      lab.clock.advance(86_400_000)
      await Promise.all(
        Array.from({ length: 10 }, () => receiveWebhook(lab.kit, storeEvents(lab.db), 'scripted', request)),
      )
      const opened = await getInboxEvent(lab.db, id)
      expect(opened).toMatchObject({ status: 'received', attempts: 0, opened_at: now() })
      // What was opened a moment ago does not count as waiting since yesterday.
      const drained = paymentInvariants.find(({ name }) => name === 'inbox_drained')
      expect(await drained?.find(lab.db, 10, now())).toEqual([])
      lab.follow({ getPayment: async () => undefined })
      await drain()
      expect(await getInboxEvent(lab.db, id)).toMatchObject({ status: 'handled' })
      expect(alarms).toHaveLength(1)
    }
  })

  it('is handled again when a person asks for it, however often', async () => {
    const [one, other] = [await giveUp(), await giveUp()]
    const page = await listInboxEvents(lab.db, { status: 'failed', gateway: 'scripted' }, { limit: 1 })
    expect(page.map(({ id }) => String(id))).toEqual([other, one])
    expect(
      await listInboxEvents(lab.db, { status: 'failed' }, { limit: 1, after: BigInt(other) }),
    ).toHaveLength(1)
    expect(await listInboxEvents(lab.db, { status: 'failed', gateway: 'x' }, { limit: 9 })).toEqual([])
    await Promise.all(
      Array.from({ length: 20 }, () => lab.db.transact((tx) => retryInboxEvent(tx, one, now()))),
    )
    lab.follow({ getPayment: async () => undefined })
    await drain()
    expect(await getInboxEvent(lab.db, one)).toMatchObject({ status: 'handled', attempts: 1 })
    const all = { gateway: 'scripted', limit: 10 }
    const retryAll = () => lab.db.transact((tx) => retryFailedEvents(tx, now(), all))
    expect([await retryAll(), await retryAll()]).toEqual([1, 0])
    // Handled once more it finds what stands.
    await lab.db.transact((tx) => retryInboxEvent(tx, one, now()))
    await drain()
    expect((await rows()).map(({ status }) => status)).toEqual(['handled', 'handled'])
    for (const id of ['999999999', '0', 'x', '9'.repeat(30)])
      await expect(lab.db.transact((tx) => retryInboxEvent(tx, id, now()))).rejects.toMatchObject({
        code: 'not_found',
      })
  })

  it('is left to whoever is handling it', async () => {
    const id = await giveUp()
    await lab.db.pool.query("update payments.inbox set status = 'handling', attempts = 7")
    await lab.db.transact((tx) => retryInboxEvent(tx, id, now()))
    expect(await getInboxEvent(lab.db, id)).toMatchObject({ status: 'handling', attempts: 7 })
  })
})
