import pg from 'pg'
import { signNotification } from '../server/src/modules/payments/gateways/sandbox/notification.ts'
import { SANDBOX_SECRET, UNIT, type BenchWorld } from './world.ts'

export interface SignedNotification {
  body: string
  signature: string
}

/** What the vendor tells, and what somebody else tells in its name. */
export interface Mixture {
  notifications: SignedNotification[]
  /** Names of the payments that were really paid, and of those only forgeries tell of. */
  paid_run: string
  forged_run: string
  paid: number
  forged: number
}

/**
 * `count` notifications in no order: one in five forged, and of the others' payments every second told twice.
 * A forgery tells of a payment that nobody paid: believed, it shows as a grant.
 */
export async function mixNotifications(world: BenchWorld, count: number, run: string): Promise<Mixture> {
  const forged = Math.floor(count / 5)
  const paid = Math.round(((count - forged) * 2) / 3)
  const [paid_run, forged_run] = [`${run}p`, `${run}f`]
  const genuine = await makeNotifications(world, paid, paid_run)
  const repeated = genuine.slice(0, count - forged - paid)
  const forgeries = (await makeNotifications(world, forged, forged_run)).map((unpaid, index) =>
    forge(unpaid, genuine[index % genuine.length] ?? unpaid, index),
  )
  const notifications = shuffled([...genuine, ...repeated, ...forgeries])
  return { notifications, paid_run, forged_run, paid, forged }
}

/** In turn: another key, the signature of another body, a body changed after it was signed, no signature. */
function forge(unpaid: SignedNotification, genuine: SignedNotification, index: number): SignedNotification {
  const ways: (() => SignedNotification)[] = [
    () => ({ body: unpaid.body, signature: signNotification('not the secret', unpaid.body, new Date()) }),
    () => ({ body: unpaid.body, signature: genuine.signature }),
    () => ({ body: unpaid.body.replace('"20000"', '"20001"'), signature: unpaid.signature }),
    () => ({ body: unpaid.body, signature: '' }),
  ]
  return (ways[index % ways.length] ?? ways[0])?.() ?? unpaid
}

function shuffled<T>(items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    const kept = items[i] as T
    items[i] = items[j] as T
    items[j] = kept
  }
  return items
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

/** Whether notifications wait to be acted on; asked often, so it reads an index and not the ledger. */
export async function isInboxOpen(world: BenchWorld): Promise<boolean> {
  const client = new pg.Client({ connectionString: world.database_url })
  await client.connect()
  const { rows } = await client.query<{ is_open: boolean }>(
    `select exists (select from payments.inbox where status in ('received', 'handling')) as is_open`,
  )
  await client.end()
  return rows[0]?.is_open ?? false
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

/**
 * Doubled, missing and forged effects: fulfilments and grants against payments, of each payment, and payments
 * nobody paid that are not as they were.
 */
export async function wrongEffects(world: BenchWorld, mixture: Mixture): Promise<number> {
  const { paid_run, forged_run } = mixture
  const client = new pg.Client({ connectionString: world.database_url })
  await client.connect()
  const { rows } = await client.query<{ wrong: string }>(`
    with grants as (select replace(split_part(source_id, ':', 1), 'line_', 'pay_') as payment_id,
        count(*) as count
      from ledger.grants where source = 'purchase' group by 1),
    fulfilments as (select payment_id, count(*) as count from orders.fulfilments group by 1),
    told as (select external_event_id from payments.inbox where gateway = 'sandbox')
    select count(*) filter (where case when p.id like 'pay_${paid_run}%'
        then p.status <> 'succeeded' or g.count is distinct from 1 or f.count is distinct from 1
        else p.status <> 'pending' or g.count is not null or f.count is not null
          or t.external_event_id is not null end) as wrong
    from payments.payments p
    left join grants g on g.payment_id = p.id
    left join fulfilments f on f.payment_id = p.id
    left join told t on t.external_event_id = 'sbxe_' || p.id || '_succeeded'
    where p.id like 'pay_${paid_run}%' or p.id like 'pay_${forged_run}%'`)
  await client.end()
  return Number(rows[0]?.wrong ?? Number.NaN)
}
