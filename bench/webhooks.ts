import pg from 'pg'
import { signNotification } from '../server/src/modules/payments/gateways/sandbox/notification.ts'
import { SANDBOX_SECRET, UNIT, type BenchWorld } from './world.ts'

export interface SignedNotification {
  body: string
  signature: string
}

/**
 * Makes `count` open orders with their payments, straight in the tables, and the signed notifications that
 * pay them. What is measured afterwards is real: storing, judging, granting, all of it durable.
 */
export async function makeNotifications(
  world: BenchWorld,
  count: number,
  run: string,
): Promise<SignedNotification[]> {
  const client = new pg.Client({ connectionString: world.database_url })
  await client.connect()
  const { rows } = await client.query<{ id: string; number: number; order_id: string }>(
    `
    with numbers as (select n, 'cus_' || lpad((1 + n % ${world.customer_ids.length})::text, 26, '0') as
      customer_id,
        '${run}' || lpad(n::text, 20, '0') as name from generate_series(1, $1) n),
    orders as (insert into orders.orders (id, customer_id, status, total, currency, gateway, payment_id,
      return_url,
        expires_at, created_at, updated_at)
      select 'ord_' || name, customer_id, 'open', 20000, 'RUB', 'sandbox', 'pay_' || name,
        'https://shop.example/back',
        now() + interval '1 day', now(), now() from numbers),
    lines as (insert into orders.lines (id, order_id, position, price_id, product_id, product_version_id,
      name, quantity,
        unit_amount, amount, grants)
      select 'line_' || name, 'ord_' || name, 0, 'price_bench', 'prod_bench', 'prod_bench_1', '30 minutes',
        1, 20000, 20000,
        jsonb_build_array(jsonb_build_object('unit', '${UNIT}', 'amount', 1800, 'validity_days', 90,
          'priority', 50, 'source', 'purchase', 'is_paid', true))
      from numbers)
    insert into payments.payments (id, order_id, customer_id, gateway, is_test, status, amount, currency,
      external_id,
        description, return_url, expires_at, next_check_at, created_at, updated_at)
    select 'pay_' || name, 'ord_' || name, customer_id, 'sandbox', true, 'pending', 20000, 'RUB', 'sbx_pay_'
      || name,
      '30 minutes', 'https://shop.example/back', now() + interval '1 day', now() + interval '1 hour', now(),
        now()
    from numbers returning id, number, order_id`,
    [count],
  )
  await client.end()
  const now = new Date()
  return rows.map(({ id, number, order_id }) => {
    const body = JSON.stringify({
      id: `sbxe_${id}_succeeded`,
      type: 'payment.succeeded',
      created_at: now.toISOString(),
      payment: {
        id: `sbx_${id}`,
        payment_id: id,
        payment_number: number,
        order_id,
        status: 'succeeded',
        amount: '20000',
        currency: 'RUB',
        paid_at: now.toISOString(),
      },
    })
    return { body, signature: signNotification(SANDBOX_SECRET, body, now) }
  })
}

/** How many payments of a run were granted. */
export async function countGranted(world: BenchWorld, run: string): Promise<number> {
  const client = new pg.Client({ connectionString: world.database_url })
  await client.connect()
  const { rows } = await client.query<{ count: string }>(
    `select count(*) from ledger.grants where source = 'purchase' and source_id like 'line_${run}%'`,
  )
  await client.end()
  return Number(rows[0]?.count ?? 0)
}

/** Doubled or missing effects of a run: fulfilments and grants against payments. */
export async function wrongEffects(world: BenchWorld, run: string, paid: number): Promise<number> {
  const client = new pg.Client({ connectionString: world.database_url })
  await client.connect()
  const { rows } = await client.query<{ grants: string; fulfilments: string }>(`
    select (select count(*) from ledger.grants where source_id like 'line_${run}%') as grants,
           (select count(*) from orders.fulfilments where order_id like 'ord_${run}%') as fulfilments`)
  await client.end()
  return Math.abs(Number(rows[0]?.grants ?? 0) - paid) + Math.abs(Number(rows[0]?.fulfilments ?? 0) - paid)
}
