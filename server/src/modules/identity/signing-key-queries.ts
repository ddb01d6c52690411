import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

/** A key that signs access tokens; the private half sealed. */
export type SigningKeyRow = Selectable<Database['identity.signing_keys']>

const COLUMNS = ['kid', 'algorithm', 'public_jwk', 'private_sealed', 'created_at'] as const

/** One number for all who make a signing key: of several processes one makes it. */
const LOCK = 7_305_811_420_233_009n

/** Held until the transaction ends. */
export async function lockSigningKeys(tx: Tx): Promise<void> {
  await raw`select pg_advisory_xact_lock(${LOCK})`.execute(tx)
}

/** Keys, the newest first. */
export async function listSigningKeys(sql: Sql): Promise<SigningKeyRow[]> {
  return sql
    .selectFrom('identity.signing_keys')
    .select(COLUMNS)
    .orderBy('created_at', 'desc')
    .limit(20)
    .execute()
}

export async function insertSigningKey(
  tx: Tx,
  key: Omit<SigningKeyRow, 'public_jwk' | 'algorithm'> & { public_jwk: object },
): Promise<void> {
  await tx
    .insertInto('identity.signing_keys')
    .values({ ...key, algorithm: 'EdDSA', public_jwk: JSON.stringify(key.public_jwk) })
    .execute()
}

export async function deleteSigningKeys(tx: Tx, created_before: Date): Promise<void> {
  await tx.deleteFrom('identity.signing_keys').where('created_at', '<', created_before).execute()
}

export async function resealSigningKey(tx: Tx, kid: string, private_sealed: string): Promise<void> {
  await tx.updateTable('identity.signing_keys').set({ private_sealed }).where('kid', '=', kid).execute()
}
