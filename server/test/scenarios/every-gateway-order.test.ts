import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createCells,
  GATEWAYS,
  MINUTES,
  OUTSIDE,
  startEveryGateway,
  type EveryGateway,
  type GatewayId,
  type Purchase,
  type VendorEvent,
  type VendorPayment,
} from '../every-gateway.ts'
import type { PlacedOrder } from '../world.ts'

/**
 * What is told of one payment, in every order there is, and twice. Seen red at every gateway: with statuses
 * that move back, with a success that does not follow a declined card, with refunds that come before their
 * payment dropped, and, where refunds are in parts, with one counted by each of its words; at those that tell
 * of disputes: with disputes that come before their payment dropped. What stays green with one guard out has
 * another: repeats in the inbox end at the status.
 */

const SLOW_MS = 180_000
/** A card that was declined before another one paid; the word of it may come after everything. */
const STEPS = ['pending', 'canceled', 'succeeded', 'refunded'] as const
/** Vendors that give back the whole or nothing; the others give back half here, so that twice would show. */
const WHOLE: readonly GatewayId[] = ['telegram-stars', 'rustore']
/** What a vendor that tells of disputes says of one, by how it ends. */
const LOST = ['succeeded', 'contested', 'lost'] as const
const WON = ['succeeded', 'contested', 'won'] as const
type Step = (typeof STEPS | typeof LOST | typeof WON)[number]
/** How disputes end at each vendor; the others tell of none. */
const DISPUTES: Record<GatewayId, readonly (typeof LOST | typeof WON)[]> = {
  yookassa: [],
  robokassa: [],
  rustore: [],
  'telegram-stars': [],
  stripe: [LOST, WON],
  paypal: [LOST, WON],
  // A chargeback is open until it is won; that it is lost for good is never said.
  paddle: [WON],
  'crypto-pay': [],
  sandbox: [],
}

const cells = createCells()
let lab: EveryGateway
beforeAll(async () => {
  lab = await startEveryGateway()
}, SLOW_MS)
afterAll(() => lab?.close())

interface Told extends Purchase {
  steps: readonly Step[]
}

function ordersOf<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((item, index) =>
    ordersOf(items.filter((_, other) => other !== index)).map((rest) => [item, ...rest]),
  )
}

/** The vendor's id of a payment of ours; where the vendor names only what was paid, it does so here. */
const vendorIdOf = ({ order: { payment } }: Purchase): string => payment.external_id ?? `of ${payment.id}`

/** Copies an order and its payment, that of one real order there are enough for every order of events. */
async function copy({ id }: PlacedOrder, names: readonly string[]): Promise<void> {
  const copying = [
    `insert into orders.orders select (jsonb_populate_record(o, jsonb_build_object('id', left(o.id, -4) || n,
       'payment_id', left(o.payment_id, -4) || n))).*
       from orders.orders o, unnest($2::text[]) n where o.id = $1`,
    `insert into orders.lines select (jsonb_populate_record(l, jsonb_build_object('id', left(l.id, -4) || n,
       'order_id', left(l.order_id, -4) || n))).*
       from orders.lines l, unnest($2::text[]) n where l.order_id = $1`,
    `insert into payments.payments overriding system value
       select (jsonb_populate_record(p, jsonb_build_object('id', left(p.id, -4) || n,
         'order_id', left(p.order_id, -4) || n, 'external_id', p.external_id || '-' || n,
         'next_check_at', null,
         'number', nextval(pg_get_serial_sequence('payments.payments', 'number'))))).*
       from payments.payments p, unnest($2::text[]) n where p.order_id = $1`,
  ]
  for (const statement of copying) await lab.world.app.db.pool.query(statement, [id, names])
}

function copyOf(purchase: Purchase, name: string): Purchase {
  const { order } = purchase
  const { payment } = order
  const named = (id: string): string => id.slice(0, -4) + name
  const external_id = payment.external_id && `${payment.external_id}-${name}`
  return {
    ...purchase,
    order: { ...order, id: named(order.id), payment: { ...payment, id: named(payment.id), external_id } },
  }
}

function refundedOf({ gateway, order: { total } }: Purchase): number {
  return WHOLE.includes(gateway) ? total : total / 2
}

function eventOf(told: Purchase, step: Step): VendorEvent {
  const { id: payment_id } = told.order.payment
  const external_id = vendorIdOf(told)
  const money = { amount: BigInt(told.order.total), currency: told.order.currency, is_test: true }
  const base = { external_event_id: `${payment_id} ${step}`, trust: 'signed', type: step } as const
  if (step === 'contested' || step === 'lost' || step === 'won') {
    const dispute = {
      external_id: `contest-of-${payment_id}`,
      payment_external_id: external_id,
      status: step === 'contested' ? 'open' : step,
      reason: 'fraud',
      ...money,
    } as const
    return { ...base, kind: 'dispute', dispute }
  }
  if (step !== 'refunded') {
    const status = step
    return { ...base, kind: 'payment', payment: { external_id, payment_id, status, ...money } }
  }
  const refund = { external_id: `refund-of-${payment_id}`, payment_external_id: external_id, payment_id }
  const amount = BigInt(refundedOf(told))
  return {
    ...base,
    kind: 'refund',
    external_id: refund.external_id,
    refund: { ...refund, status: 'succeeded', ...money, amount },
  }
}

/** What stands in the books of these payments, by payment. */
async function booksOf(told: readonly Told[]): Promise<Map<string, Record<string, unknown>>> {
  const { rows } = await lab.world.app.db.pool.query<Record<string, unknown>>(
    `select p.id, p.status, p.captured_amount::int, p.refunded_amount::int,
            (select count(*)::int from payments.refunds r where r.payment_id = p.id) as refunds,
            (select jsonb_agg(d.status) from payments.disputes d where d.payment_id = p.id) as disputes,
            (select jsonb_agg(g.remaining) from ledger.grants g join orders.lines l
              on g.source_id = l.id || ':0' where l.order_id = p.order_id) as grants
       from payments.payments p where p.id = any($1)`,
    [told.map(({ order }) => order.payment.id)],
  )
  return new Map(rows.map((row) => [String(row['id']), row]))
}

/**
 * Words that came too early are looked at again at once, not when their pause is over. What waits for ever
 * shows in the books of its payment.
 */
const nothingWaits = (): Promise<unknown> =>
  lab.world.eventually('nothing waits', async () => {
    await lab.world.drainOnce()
    const { pool } = lab.world.app.db
    await pool.query("update payments.inbox set next_attempt_at = now() where status = 'received'")
    const { rowCount } = await pool.query("select 1 from payments.inbox where status <> 'handled' limit 1")
    return rowCount === 0
  })
/** Answers whether everything that was told came to an end. */
const settles = (): Promise<boolean> =>
  nothingWaits().then(
    () => true,
    () => false,
  )

/**
 * Tells everything in its order: each word, then the same words once more beside their repeats. Answers
 * whether it all came to an end.
 */
async function tellAll(told: readonly Told[]): Promise<boolean> {
  for (const turn of told[0]?.steps.keys() ?? []) {
    const events = told.map((one) => [one.gateway, eventOf(one, one.steps[turn] ?? 'pending')] as const)
    await lab.tell(events)
    const repeated = events.map(([gateway, event]) => {
      const external_event_id = `${event.external_event_id} repeated`
      return [gateway, { ...event, external_event_id }] as const
    })
    await lab.tell([...events, ...repeated])
  }
  return settles()
}

describe('every order of four events of one payment, each twice', () => {
  const orders = ordersOf(STEPS)
  let told: Told[]
  let is_settled: boolean
  beforeAll(async () => {
    told = []
    for (const [place, gateway] of GATEWAYS.entries()) {
      const purchase = await lab.buy(gateway)
      // Ids of one moment differ in their last signs only: what stands there names the gateway too.
      const copies = orders.map((_, index) => String(place * 100 + index).padStart(4, '0'))
      await copy(purchase.order, copies)
      told.push(...orders.map((steps, index) => ({ ...copyOf(purchase, copies[index] ?? ''), steps })))
    }
    is_settled = await tellAll(told)
  }, SLOW_MS)

  it.each(cells.of('every order', GATEWAYS))(
    'ends in one grant and one refund that took back its part: %s',
    async (gateway) => {
      const own = told.filter((one) => one.gateway === gateway)
      expect(own).toHaveLength(24)
      const books = await booksOf(own)
      const left = WHOLE.includes(gateway) ? 0 : MINUTES / 2
      for (const one of own) {
        const { steps, order } = one
        const end = {
          status: left === 0 ? 'refunded' : 'partially_refunded',
          captured_amount: order.total,
          refunded_amount: refundedOf(one),
          refunds: 1,
          grants: [left],
        }
        expect([steps, books.get(order.payment.id)]).toMatchObject([steps, end])
      }
      expect(await lab.world.balance(own[0]?.customer_id ?? '')).toBe(own.length * left)
    },
  )

  it('leaves nothing waiting, and the books right', async () => {
    expect(is_settled).toBe(true)
    expect(await lab.world.booksAreClean()).toEqual([])
  })
})

describe('every order of what is told of a contested payment, each twice', () => {
  const cases = GATEWAYS.flatMap((gateway) =>
    DISPUTES[gateway].map((steps) => [gateway, steps.at(-1) ?? '', steps] as const),
  )
  let told: Map<string, Told[]>
  let is_settled: boolean
  beforeAll(async () => {
    told = new Map()
    for (const [place, [gateway, end, steps]] of cases.entries()) {
      const purchase = await lab.buy(gateway)
      const orders = ordersOf<Step>(steps)
      const copies = orders.map((_, index) => String(2000 + place * 100 + index))
      await copy(purchase.order, copies)
      const all = orders.map((order, index) => ({ ...copyOf(purchase, copies[index] ?? ''), steps: order }))
      told.set(`${gateway} ${end}`, all)
    }
    is_settled = await tellAll([...told.values()].flat())
  }, SLOW_MS)

  it.each(cases)('takes the units once; %s, at last %s', async (gateway, end) => {
    const own = told.get(`${gateway} ${end}`) ?? []
    expect(own).toHaveLength(6)
    const books = await booksOf(own)
    for (const { steps, order } of own) {
      const { total } = order
      const is_lost = end === 'lost'
      expect([steps, books.get(order.payment.id)]).toMatchObject([
        steps,
        {
          status: is_lost ? 'refunded' : 'succeeded',
          captured_amount: total,
          refunded_amount: is_lost ? total : 0,
          disputes: [end],
          grants: [is_lost ? 0 : MINUTES],
        },
      ])
    }
    const balance = await lab.world.balance(own[0]?.customer_id ?? '')
    expect(balance).toBe(end === 'lost' ? 0 : own.length * MINUTES)
  })

  it('leaves nothing waiting, and the books right', async () => {
    expect(is_settled).toBe(true)
    expect(await lab.world.booksAreClean()).toEqual([])
  })
})

describe('what another gateway or another mode says of a payment', () => {
  it('changes nothing', async () => {
    const bought: Purchase[] = []
    for (const gateway of GATEWAYS) bought.push(await lab.buy(gateway))
    const before = await lab.world.digest()
    const wordOf = (purchase: Purchase, change: Partial<VendorPayment>, name: string): VendorEvent => {
      const event = eventOf(purchase, 'succeeded')
      if (event.kind !== 'payment' || !event.payment) throw new Error('no word of a payment')
      return {
        ...event,
        external_event_id: `${event.external_event_id} ${name}`,
        payment: { ...event.payment, ...change },
      }
    }
    const foreign = bought.flatMap((purchase) =>
      GATEWAYS.filter((gateway) => gateway !== purchase.gateway).map(
        (gateway) => [gateway, wordOf(purchase, {}, `by ${gateway}`)] as const,
      ),
    )
    const real = bought.map(
      (purchase) => [purchase.gateway, wordOf(purchase, { is_test: false }, 'live')] as const,
    )
    await lab.tell([...foreign, ...real])
    expect(await lab.world.digest()).toBe(before)
    const { rows } = await lab.world.app.db.pool.query(
      `select distinct outcome from payments.inbox
        where external_event_id like '% by %' or external_event_id like '% live' order by 1`,
    )
    expect(rows.map(({ outcome }) => outcome)).toEqual(['refused: wrong_gateway', 'refused: wrong_mode'])
  })
})

describe.concurrent('over the wire, doubled and out of order', () => {
  const sandbox = 'It has no vendor who would hold words back; peer-failures-races sends its words doubled.'
  it.each(cells.of('over the wire', OUTSIDE, { sandbox }))(
    '%s grants once, and what is given back is taken back once',
    async (gateway) => {
      const { control } = lab.vendor(gateway)
      const purchase = await lab.paid(gateway, { lose: 1000 })
      const { id } = purchase.order.payment
      const lost = lab.lost(gateway)
      expect(lost.length).toBeGreaterThan(0)
      for (const notification of [...lost, ...lost].toReversed()) control.resend(notification)
      await lab.world.becomes(id, 'succeeded')
      expect(await lab.world.balance(purchase.customer_id)).toBe(MINUTES)
      control.faults({ duplicate: 2 })
      const refund = await lab.world.call('POST', `/v1/payments/${id}/refunds`, { reason: 'asked for' })
      expect([refund.status, refund.body]).toMatchObject([201, { amount: purchase.order.total }])
      await lab.world.becomes(id, 'refunded')
      control.faults({ duplicate: 0 })
      await control.settled()
      for (const notification of lost) control.resend(notification)
      await control.settled()
      await lab.world.handled()
      expect((await lab.world.payment(id)).status).toBe('refunded')
      expect(await lab.world.balance(purchase.customer_id)).toBe(0)
      expect(await lab.world.grants(purchase.order.id)).toBe(1)
    },
    SLOW_MS,
  )
})

describe('a refund made at the vendor that is told before the payment', () => {
  it.each([
    ['rustore', { outcome: 'succeeded', reason: 'refunded' }],
    ['telegram-stars', { outcome: 'canceled' }],
  ] as const)('of %s takes the units back all the same', async (gateway, refunding) => {
    const { control } = lab.vendor(gateway)
    const purchase = await lab.paid(gateway, { lose: 1000 })
    const paid = lab.lost(gateway).at(-1) ?? ''
    const [last] = control.objects({ limit: 1 }).items as { id: string }[]
    control.complete(last?.id ?? '', refunding)
    await control.settled()
    control.resend(paid)
    await control.settled()
    await lab.world.becomes(purchase.order.payment.id, 'refunded')
    expect(await lab.world.balance(purchase.customer_id)).toBe(0)
    expect(await lab.world.booksAreClean()).toEqual([])
  })
})

it('leaves no gateway out of any of this', () => {
  expect(cells.missing(['every order', 'over the wire'])).toEqual([])
})
