import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'

/** Whom personal data is about: a customer with his aliases, and the users who are him. */
export interface PersonIds {
  customer_ids: readonly string[]
  user_ids: readonly string[]
}

interface Part {
  /** The table; also its name in the export. */
  table: string
  /** Which rows are about the person: `$` stands for the list of ids. */
  where: string
  by: keyof PersonIds
  /** Columns that are no facts about a person but secrets or their digests. */
  without?: readonly string[]
}

const OF_WALLETS = 'wallet_id in (select id from ledger.wallets where customer_id = any($))'

/** Every table that holds something about a person. A test compares it with the schema. */
export const PERSONAL_PARTS: readonly Part[] = [
  { table: 'customers.customers', where: 'id = any($)', by: 'customer_ids', without: ['search'] },
  { table: 'customers.members', where: 'user_id = any($)', by: 'user_ids' },
  {
    table: 'customers.invitations',
    where: 'accepted_by = any($) or invited_by = any($)',
    by: 'user_ids',
    without: ['token_digest', 'email'],
  },
  { table: 'customers.organizations', where: 'created_by = any($)', by: 'user_ids' },
  { table: 'identity.users', where: 'id = any($)', by: 'user_ids', without: ['password_hash'] },
  { table: 'identity.identities', where: 'user_id = any($)', by: 'user_ids' },
  { table: 'identity.devices', where: 'user_id = any($)', by: 'user_ids' },
  { table: 'identity.sessions', where: 'user_id = any($)', by: 'user_ids', without: ['cookie_digest'] },
  { table: 'identity.staff', where: 'user_id = any($)', by: 'user_ids' },
  {
    table: 'identity.one_time_proofs',
    where: 'user_id = any($)',
    by: 'user_ids',
    without: ['digest', 'facts'],
  },
  {
    table: 'identity.totp_secrets',
    where: 'user_id = any($)',
    by: 'user_ids',
    without: ['secret_sealed', 'recovery_digests'],
  },
  {
    table: 'identity.audit_log',
    where: 'actor_id = any($) or subject_id = any($)',
    by: 'user_ids',
    without: ['hash', 'before', 'after'],
  },
  { table: 'ledger.wallets', where: 'customer_id = any($)', by: 'customer_ids', without: ['chain_hash'] },
  { table: 'ledger.grants', where: OF_WALLETS, by: 'customer_ids' },
  { table: 'ledger.holds', where: OF_WALLETS, by: 'customer_ids' },
  {
    table: 'ledger.transfers',
    where: OF_WALLETS,
    by: 'customer_ids',
    without: ['hash', 'key_digest', 'input_digest'],
  },
  { table: 'ledger.merged_customers', where: 'customer_id = any($)', by: 'customer_ids' },
  { table: 'orders.orders', where: 'customer_id = any($)', by: 'customer_ids' },
  {
    table: 'orders.lines',
    where: 'order_id in (select id from orders.orders where customer_id = any($))',
    by: 'customer_ids',
  },
  { table: 'orders.refund_revocations', where: 'customer_id = any($)', by: 'customer_ids' },
  { table: 'payments.payments', where: 'customer_id = any($)', by: 'customer_ids' },
  { table: 'payments.vendor_subscriptions', where: 'customer_id = any($)', by: 'customer_ids' },
  {
    table: 'payments.refunds',
    where: 'payment_id in (select id from payments.payments where customer_id = any($))',
    by: 'customer_ids',
  },
  { table: 'payments.receipts', where: 'customer_id = any($)', by: 'customer_ids' },
  {
    table: 'payments.saved_methods',
    where: 'customer_id = any($)',
    by: 'customer_ids',
    without: ['external_id', 'customer_external_id'],
  },
  { table: 'admin.lone_acts', where: 'customer_id = any($)', by: 'customer_ids' },
  { table: 'usage.meter_events', where: 'customer_id = any($)', by: 'customer_ids' },
  { table: 'usage.sessions', where: 'customer_id = any($)', by: 'customer_ids' },
]

/** The customer with everybody merged into him, and the users who are one of these. */
export async function findPersonIds(sql: Sql, customer_id: string): Promise<PersonIds> {
  const { rows } = await raw<{ customer_ids: string[]; user_ids: string[] }>`
    with recursive person as (
      select id from customers.customers where id = ${customer_id} or merged_into = ${customer_id}
    ), users as (
      select id from identity.users where customer_id in (select id from person)
      union
      select alias.id from identity.users alias join users on alias.merged_into = users.id
    )
    select array(select id from person) as customer_ids, array(select id from users) as user_ids`.execute(sql)
  return rows[0] ?? { customer_ids: [], user_ids: [] }
}

/** The rows of one part as JSON, at most `limit`. Amounts are integers. */
export async function readPersonalPart(
  sql: Sql,
  part: Part,
  person: PersonIds,
  limit: number,
): Promise<unknown[]> {
  const ids = raw`${[...person[part.by]]}::text[]`
  const [first = '', ...rest] = part.where.split('$')
  const where = rest.reduce((done, text) => raw`${done}${ids}${raw.raw(text)}`, raw`${raw.raw(first)}`)
  const { rows } = await raw<{ fact: unknown }>`
    select to_jsonb(t) - ${[...(part.without ?? [])]}::text[] as fact
    from ${raw.table(part.table)} t where ${where} limit ${limit}`.execute(sql)
  return rows.map((row) => row.fact)
}

/** Whether money of the person is still on its way. */
export async function hasOpenPayments(sql: Sql, customer_ids: readonly string[]): Promise<boolean> {
  const { rows } = await raw<{ is_open: boolean }>`
    select exists (
      select 1 from payments.payments
       where customer_id = any(${[...customer_ids]}::text[])
         and status in ('pending', 'requires_action', 'authorized', 'unknown')
    ) or exists (
      select 1 from payments.refunds r join payments.payments p on p.id = r.payment_id
       where p.customer_id = any(${[...customer_ids]}::text[]) and r.status in ('pending', 'unknown')
    ) as is_open`.execute(sql)
  return rows[0]?.is_open ?? false
}
