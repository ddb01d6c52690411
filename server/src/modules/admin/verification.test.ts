import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type World } from '../../../test/world.ts'
import { allInvariants, verifyBooks } from './index.ts'

let world: World
let paid: { order_id: string; payment_id: string }
let refunded: { payment_id: string; refund_id: string }
let open: { order_id: string; payment_id: string }

beforeAll(async () => {
  world = await startWorld()
  const customer_id = await world.customer()
  paid = await buy(customer_id)
  const other = await buy(customer_id)
  const { body } = await world.call<{ id: string }>('POST', `/v1/payments/${other.payment_id}/refunds`, {
    amount: 5000,
    reason: 'in part',
  })
  refunded = { payment_id: other.payment_id, refund_id: body.id }
  const waiting = await world.order({ customer_id, product_key: 'minutes_30' })
  open = { order_id: waiting.id, payment_id: waiting.payment.id }
})
afterAll(() => world?.close())

async function buy(customer_id: string): Promise<{ order_id: string; payment_id: string }> {
  const order = await world.order({ customer_id, product_key: 'minutes_30' })
  world.yookassa.control.complete(order.payment.external_id, 'succeeded')
  await world.eventually('paid', async () => {
    const { body } = await world.call('GET', `/v1/payments/${order.payment.id}`)
    return body['status'] === 'succeeded'
  })
  return { order_id: order.id, payment_id: order.payment.id }
}

const statements = async (...texts: string[]): Promise<void> => {
  for (const text of texts) await world.app.db.pool.query(text)
}
const findings = async (): Promise<{ invariant: string; detail: string }[]> =>
  (await verifyBooks(world.app.db, world.app.kit.clock)).findings

describe('the verification of the books', () => {
  it('finds nothing when all is right, and looks at every module', async () => {
    expect(await findings()).toEqual([])
    expect(new Set(allInvariants().map(({ name }) => name)).size).toBe(allInvariants().length)
    expect(allInvariants().length).toBeGreaterThan(20)
  })

  // Each row: what is broken, how, how it is mended, and which row has to be named.
  const table: [string, () => string[], () => string[], () => string][] = [
    [
      'succeeded_payment_is_fulfilled_once',
      () => [
        `create table public.kept as select * from orders.fulfilments where order_id = '${paid.order_id}'`,
        `delete from orders.fulfilments where order_id = '${paid.order_id}'`,
      ],
      () => ['insert into orders.fulfilments select * from public.kept', 'drop table public.kept'],
      () => paid.payment_id,
    ],
    [
      'fulfilment_has_its_payment',
      () => [`update orders.fulfilments set payment_id = 'pay_made_up' where order_id = '${paid.order_id}'`],
      () => [
        `update orders.fulfilments set payment_id = '${paid.payment_id}' where order_id = '${paid.order_id}'`,
      ],
      () => paid.order_id,
    ],
    [
      'order_status_fits_fulfilment',
      () => [`update orders.orders set status = 'open' where id = '${paid.order_id}'`],
      () => [`update orders.orders set status = 'fulfilled' where id = '${paid.order_id}'`],
      () => paid.order_id,
    ],
    [
      'order_total_adds_up',
      () => [`update orders.orders set total = total + 1 where id = '${open.order_id}'`],
      () => [`update orders.orders set total = total - 1 where id = '${open.order_id}'`],
      () => open.order_id,
    ],
    [
      'payment_asks_what_the_order_costs',
      () => [`update payments.payments set amount = amount + 1 where id = '${open.payment_id}'`],
      () => [`update payments.payments set amount = amount - 1 where id = '${open.payment_id}'`],
      () => open.payment_id,
    ],
    [
      'fulfilled_line_is_granted',
      () => [`update orders.lines set grants = grants || grants where order_id = '${paid.order_id}'`],
      () => [
        `update orders.lines set grants = jsonb_build_array(grants -> 0) where order_id = '${paid.order_id}'`,
      ],
      () => paid.order_id,
    ],
    [
      'refunds_within_captured',
      () => [`update payments.refunds set amount = 999999 where id = '${refunded.refund_id}'`],
      () => [`update payments.refunds set amount = 5000 where id = '${refunded.refund_id}'`],
      () => refunded.payment_id,
    ],
    [
      'refunded_amount_adds_up',
      () => [`update payments.payments set refunded_amount = 4999 where id = '${refunded.payment_id}'`],
      () => [`update payments.payments set refunded_amount = 5000 where id = '${refunded.payment_id}'`],
      () => refunded.payment_id,
    ],
    [
      'payment_status_fits_amounts',
      () => [`update payments.payments set status = 'refunded' where id = '${refunded.payment_id}'`],
      () => [
        `update payments.payments set status = 'partially_refunded' where id = '${refunded.payment_id}'`,
      ],
      () => refunded.payment_id,
    ],
    [
      'nothing_unfinished_without_next_check',
      () => [`update payments.payments set next_check_at = null where id = '${open.payment_id}'`],
      () => [`update payments.payments set next_check_at = now() where id = '${open.payment_id}'`],
      () => open.payment_id,
    ],
    [
      'inbox_drained',
      () => [
        `insert into payments.inbox (gateway, external_event_id, type, trust, event, next_attempt_at,
          received_at)
        values ('stuck', 'e1', 't', 'signed', '{}', 'infinity', now() - interval '6 minutes')`,
      ],
      () => [`delete from payments.inbox where gateway = 'stuck'`],
      () => 'stuck',
    ],
    [
      'inbox_without_failures',
      () => [
        `insert into payments.inbox (gateway, external_event_id, type, trust, event, next_attempt_at,
          received_at,
        status) values ('poison', 'e1', 't', 'signed', '{}', now(), now(), 'failed')`,
      ],
      () => [`delete from payments.inbox where gateway = 'poison'`],
      () => 'poison',
    ],
  ]

  it.each(table)('notices a broken %s and names the row', async (invariant, breakIt, mendIt, named) => {
    await statements(...breakIt())
    try {
      const found = (await findings()).filter((finding) => finding.invariant === invariant)
      expect(found.length).toBeGreaterThan(0)
      expect(found.map(({ detail }) => detail).join()).toContain(named())
    } finally {
      await statements(...mendIt())
    }
    expect(await findings()).toEqual([])
  })

  it('answers over HTTP to who may, and to nobody else', async () => {
    expect((await world.call('GET', '/v1/verification')).body).toMatchObject({ ok: true, findings: [] })
    expect((await world.call('GET', '/v1/verification', undefined, { authorization: '' })).status).toBe(401)
    const key = await world.call<{ secret: string }>('POST', '/v1/api_keys', {
      name: 'less',
      scopes: ['wallets:read'],
    })
    const less = await world.call('GET', '/v1/verification', undefined, {
      authorization: `Bearer ${key.body.secret}`,
    })
    expect(less.status).toBe(403)
    expect(less.body['code']).toBe('missing_scope')
  })
})

describe('the sandbox’s clock', () => {
  it('moves forward on request, once per key, and units expire by it', async () => {
    const customer_id = await world.customer()
    await world.call('POST', `/v1/customers/${customer_id}/grants`, {
      unit: 'minute',
      amount: 60,
      reason: 'short',
      expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    })
    const url = `/v1/customers/${customer_id}/wallets/minute`
    expect((await world.call('GET', url)).body['balance']).toBe(60)
    const key = { 'idempotency-key': 'move-the-clock' }
    const moved = await world.call<{ now: string }>('POST', '/v1/test_clock', { advance_seconds: 7200 }, key)
    const again = await world.call<{ now: string }>('POST', '/v1/test_clock', { advance_seconds: 7200 }, key)
    expect(again.text).toBe(moved.text)
    // Nobody can have booked yet what the move made due: not late, and so no finding.
    expect(await findings()).toEqual([])
    await world.eventually(
      'the units expired',
      async () => (await world.call('GET', url)).body['balance'] === 0,
    )
    expect((await world.call('POST', '/v1/test_clock', { advance_seconds: -5 })).status).toBe(400)
    await world.eventually('the sweeper booked it', async () => (await findings()).length === 0)
  })
})
