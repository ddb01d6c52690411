import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'
import type { KeyMode } from './secret-key.ts'

type Row = Selectable<Database['identity.api_keys']>

/** A key as everybody may see it: without its digest. */
export type ApiKeyRow = Omit<Row, 'secret_digest' | 'mode'> & { mode: KeyMode }

/** What the authenticator needs of a key. */
export type KeyRow = Pick<Row, 'id' | 'secret_digest' | 'scopes' | 'rate_limit_per_minute' | 'expires_at'>

const COLUMNS = [
  'id',
  'name',
  'hint',
  'mode',
  'scopes',
  'rate_limit_per_minute',
  'created_by',
  'created_at',
  'expires_at',
  'revoked_at',
  'last_used_at',
] as const

export async function insertKey(
  tx: Tx,
  key: Omit<ApiKeyRow, 'revoked_at' | 'last_used_at'> & { secret_digest: Buffer },
): Promise<ApiKeyRow> {
  return tx.insertInto('identity.api_keys').values(key).returning(COLUMNS).executeTakeFirstOrThrow()
}

/** Marks a key revoked, now or before; `undefined` when there is none with this id. */
export async function revokeKey(tx: Tx, id: string, now: Date): Promise<ApiKeyRow | undefined> {
  return tx
    .updateTable('identity.api_keys')
    .set((eb) => ({ revoked_at: eb.fn.coalesce('revoked_at', eb.val(now)) }))
    .where('id', '=', id)
    .returning(COLUMNS)
    .executeTakeFirst()
}

export async function findKey(sql: Sql, id: string): Promise<ApiKeyRow | undefined> {
  return sql.selectFrom('identity.api_keys').select(COLUMNS).where('id', '=', id).executeTakeFirst()
}

/** Keys newest first, revoked ones too; one row more than the limit. Ids ascend with time. */
export async function listKeys(
  sql: Sql,
  page: { limit: number; before?: string | undefined },
): Promise<ApiKeyRow[]> {
  let query = sql.selectFrom('identity.api_keys').select(COLUMNS)
  if (page.before !== undefined) query = query.where('id', '<', page.before)
  return query
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute()
}

/** The keys with these digests that are not revoked. */
export async function findKeysByDigest(sql: Sql, digests: readonly Buffer[]): Promise<KeyRow[]> {
  return sql
    .selectFrom('identity.api_keys')
    .select(['id', 'secret_digest', 'scopes', 'rate_limit_per_minute', 'expires_at'])
    .where('secret_digest', 'in', [...digests])
    .where('revoked_at', 'is', null)
    .execute()
}

/** Whether a key that may make others is valid now. */
export async function hasAdminKey(sql: Sql, mode: KeyMode, now: Date): Promise<boolean> {
  const row = await sql
    .selectFrom('identity.api_keys')
    .select('id')
    .where('mode', '=', mode)
    .where('revoked_at', 'is', null)
    .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
    .where(raw<boolean>`scopes && array['*', 'admin']`)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/**
 * Writes when keys were last used; an earlier moment never replaces a later one. Rows are locked in id
 * order.
 */
export async function markUsed(tx: Tx, uses: readonly { id: string; used_at: Date }[]): Promise<void> {
  const ids = uses.map((use) => use.id)
  const moments = uses.map((use) => use.used_at)
  await raw`
    with used as (
      select key.id, given.used_at
      from unnest(${ids}::text[], ${moments}::timestamptz[]) as given (id, used_at)
      join identity.api_keys as key on key.id = given.id
      where key.last_used_at is null or key.last_used_at < given.used_at
      order by key.id
      for update of key
    )
    update identity.api_keys as key set last_used_at = used.used_at from used where key.id = used.id`.execute(
    tx,
  )
}

/** Puts a new set-up token in the place of every one that was not used. */
export async function replaceSetupToken(
  tx: Tx,
  token: { digest: Buffer; created_at: Date; expires_at: Date },
): Promise<void> {
  await tx.deleteFrom('identity.setup_tokens').where('used_at', 'is', null).execute()
  await tx.insertInto('identity.setup_tokens').values(token).execute()
}

/** Uses a set-up token up; false when it is unknown, used or too old. Of many at once, one gets true. */
export async function useSetupToken(tx: Tx, digest: Buffer, now: Date): Promise<boolean> {
  const row = await tx
    .updateTable('identity.setup_tokens')
    .set({ used_at: now })
    .where('digest', '=', digest)
    .where('used_at', 'is', null)
    .where('expires_at', '>', now)
    .returning('digest')
    .executeTakeFirst()
  return row !== undefined
}

/** Whether a set-up token could be used now. */
export async function findSetupToken(sql: Sql, digest: Buffer, now: Date): Promise<boolean> {
  const row = await sql
    .selectFrom('identity.setup_tokens')
    .select('digest')
    .where('digest', '=', digest)
    .where('used_at', 'is', null)
    .where('expires_at', '>', now)
    .executeTakeFirst()
  return row !== undefined
}
