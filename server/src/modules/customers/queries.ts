import { sql as raw, type Selectable, type SqlBool } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'
import type { CustomerKey } from './customer-key.ts'

/** The caller's own facts about a customer, as `metadata` on the wire allows them. */
export type CustomerMetadata = Record<string, string | number | boolean | null>

type Row = Omit<Selectable<Database['customers.customers']>, 'search'>

/** A customer as it is kept and as it goes over the wire. */
export type CustomerRow = Omit<Row, 'metadata'> & { metadata: CustomerMetadata }

const COLUMNS = [
  'customer.id',
  'customer.external_id',
  'customer.telegram_id',
  'customer.email',
  'customer.phone',
  'customer.name',
  'customer.locale',
  'customer.country',
  'customer.metadata',
  'customer.merged_into',
  'customer.erased_at',
  'customer.created_at',
  'customer.updated_at',
] as const

const vector = (words: readonly string[]) => raw<never>`array_to_tsvector(${[...words]}::text[])`

/** Inserts unless an identity is taken; true when the row is new. Waits for a rival's commit. */
export async function insertCustomer(
  tx: Tx,
  customer: Omit<CustomerRow, 'merged_into' | 'erased_at'>,
  words: readonly string[],
): Promise<boolean> {
  const row = await tx
    .insertInto('customers.customers')
    .values({ ...customer, search: vector(words) })
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .executeTakeFirst()
  return row !== undefined
}

/** The survivor of whoever the key names: one hop is enough, since merges point at the last survivor. */
export async function findSurvivor(sql: Sql, key: CustomerKey): Promise<CustomerRow | undefined> {
  const row = await sql
    .selectFrom('customers.customers as asked')
    .innerJoin('customers.customers as customer', (join) =>
      join.on((eb) => eb('customer.id', '=', eb.fn.coalesce('asked.merged_into', 'asked.id'))),
    )
    .select(COLUMNS)
    .where((eb) => {
      if ('id' in key) return eb('asked.id', '=', key.id)
      if ('external_id' in key) return eb('asked.external_id', '=', key.external_id)
      return eb('asked.telegram_id', '=', key.telegram_id)
    })
    .executeTakeFirst()
  return row as CustomerRow | undefined
}

/** Locks in id order, as everything that locks customers does: two merges never wait for each other. */
export async function lockCustomers(tx: Tx, ids: readonly string[]): Promise<CustomerRow[]> {
  const rows = await tx
    .selectFrom('customers.customers as customer')
    .select(COLUMNS)
    .where('customer.id', 'in', [...ids])
    .orderBy('customer.id')
    .forUpdate()
    .execute()
  return rows as CustomerRow[]
}

export async function findCustomers(sql: Sql, ids: readonly string[]): Promise<CustomerRow[]> {
  if (ids.length === 0) return []
  const rows = await sql
    .selectFrom('customers.customers as customer')
    .select(COLUMNS)
    .where('customer.id', '=', raw<string>`any(${[...ids]}::text[])`)
    .execute()
  return rows as CustomerRow[]
}

/** Writes every changeable column of one locked customer. */
export async function updateCustomer(tx: Tx, customer: CustomerRow, words: readonly string[]): Promise<void> {
  const { id, created_at: _created_at, ...columns } = customer
  await tx
    .updateTable('customers.customers')
    .set({ ...columns, search: vector(words) })
    .where('id', '=', id)
    .execute()
}

/** Points everybody who was merged into `from_id` at `into_id`, so that one hop always suffices. */
export async function redirectMerged(tx: Tx, from_id: string, into_id: string): Promise<void> {
  await tx
    .updateTable('customers.customers')
    .set({ merged_into: into_id })
    .where('merged_into', '=', from_id)
    .execute()
}

/** The customers that were merged into this one. */
export async function findAliasIds(sql: Sql, id: string): Promise<string[]> {
  const rows = await sql
    .selectFrom('customers.customers')
    .select('id')
    .where('merged_into', '=', id)
    .execute()
  return rows.map((row) => row.id)
}

export interface CustomerFilter {
  email?: string | undefined
  external_id?: string | undefined
  telegram_id?: bigint | undefined
  /** Every word must begin a word of the customer. */
  words?: readonly string[] | undefined
}

/** Living customers (merged ones show as their survivor), newest first; one row more than the limit. */
export async function listCustomers(
  sql: Sql,
  filter: CustomerFilter,
  page: { limit: number; after?: { created_at: Date; id: string } | undefined },
): Promise<CustomerRow[]> {
  let query = sql
    .selectFrom('customers.customers as customer')
    .select(COLUMNS)
    .where('merged_into', 'is', null)
  const { email, external_id, telegram_id, words } = filter
  if (email !== undefined) query = query.where('customer.email', '=', email)
  if (external_id !== undefined) {
    query = query.where('customer.id', '=', survivorOf(sql, 'external_id', external_id))
  }
  if (telegram_id !== undefined) {
    query = query.where('customer.id', '=', survivorOf(sql, 'telegram_id', telegram_id))
  }
  if (words !== undefined) {
    // Words hold letters and digits only, so quoting them is enough to keep the question a question.
    const question = words.map((word) => `'${word}':*`).join(' & ')
    query = query.where(raw<SqlBool>`customer.search @@ ${question}::tsquery`)
  }
  if (page.after) {
    const { created_at, id } = page.after
    query = query.where((eb) =>
      eb(eb.refTuple('customer.created_at', 'customer.id'), '<', eb.tuple(created_at, id)),
    )
  }
  const rows = await query
    .orderBy('customer.created_at', 'desc')
    .orderBy('customer.id', 'desc')
    .limit(page.limit + 1)
    .execute()
  return rows as CustomerRow[]
}

/** A merged customer keeps an identity its survivor already had: it then leads to the survivor. */
function survivorOf(sql: Sql, column: 'external_id' | 'telegram_id', value: string | bigint) {
  return sql
    .selectFrom('customers.customers as asked')
    .select((eb) => eb.fn.coalesce('asked.merged_into', 'asked.id').as('id'))
    .where(`asked.${column}`, '=', value as never)
}
