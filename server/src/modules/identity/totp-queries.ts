import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type TotpRow = Selectable<Database['identity.totp_secrets']>

const COLUMNS = [
  'user_id',
  'secret_sealed',
  'confirmed_at',
  'last_step',
  'recovery_digests',
  'created_at',
] as const

export async function findTotp(sql: Sql, user_id: string): Promise<TotpRow | undefined> {
  return sql
    .selectFrom('identity.totp_secrets')
    .select(COLUMNS)
    .where('user_id', '=', user_id)
    .executeTakeFirst()
}

/**
 * Puts a secret that is not confirmed in the place of one that is not either; false when a confirmed one is
 * there.
 */
export async function putTotp(
  tx: Tx,
  totp: { user_id: string; secret_sealed: string; created_at: Date },
): Promise<boolean> {
  const row = await tx
    .insertInto('identity.totp_secrets')
    .values(totp)
    .onConflict((conflict) =>
      conflict
        .column('user_id')
        .doUpdateSet({ secret_sealed: totp.secret_sealed, created_at: totp.created_at, last_step: 0n })
        .where('identity.totp_secrets.confirmed_at', 'is', null),
    )
    .returning('user_id')
    .executeTakeFirst()
  return row !== undefined
}

export async function confirmTotp(
  tx: Tx,
  totp: { user_id: string; confirmed_at: Date; recovery_digests: readonly Buffer[] },
): Promise<void> {
  await tx
    .updateTable('identity.totp_secrets')
    .set({ confirmed_at: totp.confirmed_at, recovery_digests: [...totp.recovery_digests] })
    .where('user_id', '=', totp.user_id)
    .execute()
}

/** Uses the code of a step up; false when it or a later one was used. Of many at once, one gets true. */
export async function useTotpStep(tx: Tx, user_id: string, step: bigint): Promise<boolean> {
  const row = await tx
    .updateTable('identity.totp_secrets')
    .set({ last_step: step })
    .where('user_id', '=', user_id)
    .where('last_step', '<', step)
    .returning('user_id')
    .executeTakeFirst()
  return row !== undefined
}

/** Uses a recovery code up; false when it is none. Of many at once, one gets true. */
export async function useRecoveryCode(tx: Tx, user_id: string, digest: Buffer): Promise<boolean> {
  const { rows } = await raw`
    update identity.totp_secrets set recovery_digests = array_remove(recovery_digests, ${digest}::bytea)
    where user_id = ${user_id} and confirmed_at is not null and ${digest}::bytea = any(recovery_digests)
    returning user_id`.execute(tx)
  return rows.length > 0
}

export async function deleteTotp(tx: Tx, user_id: string): Promise<void> {
  await tx.deleteFrom('identity.totp_secrets').where('user_id', '=', user_id).execute()
}

/** Secrets in the order of their users, after one; for sealing them anew. */
export async function listTotp(sql: Sql, after: string, limit: number): Promise<TotpRow[]> {
  return sql
    .selectFrom('identity.totp_secrets')
    .select(COLUMNS)
    .where('user_id', '>', after)
    .orderBy('user_id')
    .limit(limit)
    .execute()
}

export async function resealTotp(tx: Tx, user_id: string, secret_sealed: string): Promise<void> {
  await tx
    .updateTable('identity.totp_secrets')
    .set({ secret_sealed })
    .where('user_id', '=', user_id)
    .execute()
}
