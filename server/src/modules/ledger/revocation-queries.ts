import type { Sql, Tx } from '#kernel/db'

export interface RevocationRow {
  wallet_id: bigint
  key_digest: Buffer
  input_digest: Buffer
  grant_id: bigint
  requested: bigint
  taken_at_once: bigint
  others_at_once: bigint
  debt_at_once: bigint
  taken: bigint
  debt: bigint
  written_off: bigint
  reinstated: bigint
  slice_wallet_ids: bigint[]
  slice_grant_ids: bigint[]
  slice_amounts: bigint[]
  reinstated_at: Date | null
  created_at: Date
  actor_id: string
  reason: string
  reference: string | null
}

const columns = [
  'wallet_id',
  'key_digest',
  'input_digest',
  'grant_id',
  'requested',
  'taken_at_once',
  'others_at_once',
  'debt_at_once',
  'taken',
  'debt',
  'written_off',
  'reinstated',
  'slice_wallet_ids',
  'slice_grant_ids',
  'slice_amounts',
  'reinstated_at',
  'created_at',
  'actor_id',
  'reason',
  'reference',
] as const

/** What was asked of a grant under a key before. */
export function findRevocation(
  sql: Sql,
  wallet_id: bigint,
  key_digest: Buffer,
): Promise<RevocationRow | undefined> {
  return sql
    .selectFrom('ledger.revocations')
    .select(columns)
    .where('wallet_id', '=', wallet_id)
    .where('key_digest', '=', key_digest)
    .executeTakeFirst()
}

/** Revocations of grants that are not undone, oldest first. */
export async function findOpenRevocations(
  sql: Sql,
  grants: readonly { wallet_id: bigint; id: bigint }[],
): Promise<RevocationRow[]> {
  if (grants.length === 0) return []
  return sql
    .selectFrom('ledger.revocations')
    .select(columns)
    .where((eb) =>
      eb(
        eb.refTuple('wallet_id', 'grant_id'),
        'in',
        grants.map(({ wallet_id, id }) => eb.tuple(wallet_id, id)),
      ),
    )
    .where('reinstated_at', 'is', null)
    .orderBy('created_at')
    .orderBy('wallet_id')
    .orderBy('key_digest')
    .execute()
}

export async function insertRevocation(
  tx: Tx,
  revocation: Omit<RevocationRow, 'reinstated' | 'reinstated_at'>,
): Promise<void> {
  await tx.insertInto('ledger.revocations').values(revocation).execute()
}

/** Keeps what became of a revocation since. */
export async function updateRevocation(tx: Tx, revocation: RevocationRow): Promise<void> {
  const {
    wallet_id,
    key_digest,
    taken,
    debt,
    written_off,
    reinstated,
    slice_wallet_ids,
    slice_grant_ids,
    slice_amounts,
    reinstated_at,
  } = revocation
  await tx
    .updateTable('ledger.revocations')
    .set({
      taken,
      debt,
      written_off,
      reinstated,
      slice_wallet_ids,
      slice_grant_ids,
      slice_amounts,
      reinstated_at,
    })
    .where('wallet_id', '=', wallet_id)
    .where('key_digest', '=', key_digest)
    .execute()
}
