import type { Sql, Tx } from './db.ts'

export interface StoredKey {
  input_digest: Buffer
  resource_id: string | null
  leased_until: Date | null
  status: number | null
  answer: string | null
}

interface Key {
  actor_id: string
  route: string
  key: string
}

const columns = ['input_digest', 'resource_id', 'leased_until', 'status', 'answer'] as const

/** True when the row is new. Waits for a rival transaction that is inserting the same key. */
export async function insertClaim(
  tx: Tx,
  claim: Key & { input_digest: Buffer; created_at: Date; resource_id?: string; leased_until?: Date },
): Promise<boolean> {
  const row = await tx
    .insertInto('kernel.idempotency_keys')
    .values({
      actor_id: claim.actor_id,
      route: claim.route,
      key: claim.key,
      input_digest: claim.input_digest,
      created_at: claim.created_at,
      resource_id: claim.resource_id ?? null,
      leased_until: claim.leased_until ?? null,
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning('key')
    .executeTakeFirst()
  return row !== undefined
}

export function findKey(sql: Sql, key: Key): Promise<StoredKey> {
  return where(sql, key).executeTakeFirstOrThrow()
}

export function findKeyForUpdate(tx: Tx, key: Key): Promise<StoredKey> {
  return where(tx, key).forUpdate().executeTakeFirstOrThrow()
}

function where(sql: Sql, key: Key) {
  return sql
    .selectFrom('kernel.idempotency_keys')
    .select(columns)
    .where('actor_id', '=', key.actor_id)
    .where('route', '=', key.route)
    .where('key', '=', key.key)
}

export async function renewLease(tx: Tx, key: Key & { leased_until: Date }): Promise<void> {
  await tx
    .updateTable('kernel.idempotency_keys')
    .set({ leased_until: key.leased_until })
    .where('actor_id', '=', key.actor_id)
    .where('route', '=', key.route)
    .where('key', '=', key.key)
    .where('answer', 'is', null)
    .execute()
}

/** Ends the lease that ends at this moment; one that was taken over since is left alone. */
export async function endLease(tx: Tx, key: Key & { leased_until: Date }): Promise<void> {
  await tx
    .updateTable('kernel.idempotency_keys')
    .set({ leased_until: null })
    .where('actor_id', '=', key.actor_id)
    .where('route', '=', key.route)
    .where('key', '=', key.key)
    .where('leased_until', '=', key.leased_until)
    .execute()
}

/** False when there is an answer already: the first one stays. */
export async function storeAnswer(tx: Tx, key: Key & { status: number; answer: string }): Promise<boolean> {
  const result = await tx
    .updateTable('kernel.idempotency_keys')
    .set({ status: key.status, answer: key.answer, leased_until: null })
    .where('actor_id', '=', key.actor_id)
    .where('route', '=', key.route)
    .where('key', '=', key.key)
    .where('answer', 'is', null)
    .executeTakeFirst()
  return result.numUpdatedRows > 0n
}

/**
 * Forgets answers older than the moment, at most `limit` a call; ledger keys are not here and never expire.
 */
export async function deleteOldKeys(tx: Tx, before: Date, limit: number): Promise<number> {
  const result = await tx
    .deleteFrom('kernel.idempotency_keys')
    .where((eb) =>
      eb(
        eb.refTuple('actor_id', 'route', 'key'),
        'in',
        eb
          .selectFrom('kernel.idempotency_keys')
          .select(['actor_id', 'route', 'key'])
          .where('created_at', '<', before)
          .limit(limit)
          .$asTuple('actor_id', 'route', 'key'),
      ),
    )
    .executeTakeFirst()
  return Number(result.numDeletedRows)
}
