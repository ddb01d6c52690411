import type { Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

type Row = Selectable<Database['identity.one_time_proofs']>

/** A proof that is still good. */
export type ProofRow = Pick<
  Row,
  'digest' | 'kind' | 'user_id' | 'subject' | 'facts' | 'attempts' | 'expires_at'
>

const COLUMNS = ['digest', 'kind', 'user_id', 'subject', 'facts', 'attempts', 'expires_at'] as const

export async function insertProof(
  tx: Tx,
  proof: {
    digest: Buffer
    kind: string
    user_id: string | null
    subject: string | null
    facts: object
    created_at: Date
    expires_at: Date
  },
): Promise<boolean> {
  const row = await tx
    .insertInto('identity.one_time_proofs')
    .values({ ...proof, facts: JSON.stringify(proof.facts) })
    .onConflict((conflict) => conflict.doNothing())
    .returning('digest')
    .executeTakeFirst()
  return row !== undefined
}

/** A proof of this kind that was not used and is not too old. */
export async function findProof(
  sql: Sql,
  proof: { digest: Buffer; kind: string; now: Date },
): Promise<ProofRow | undefined> {
  return sql
    .selectFrom('identity.one_time_proofs')
    .select(COLUMNS)
    .where('digest', '=', proof.digest)
    .where('kind', '=', proof.kind)
    .where('used_at', 'is', null)
    .where('expires_at', '>', proof.now)
    .executeTakeFirst()
}

/** Any proof with this digest, used and old ones too. */
export async function findProofAsItIs(
  sql: Sql,
  digest: Buffer,
): Promise<Pick<Row, 'facts' | 'expires_at' | 'used_at'> | undefined> {
  return sql
    .selectFrom('identity.one_time_proofs')
    .select(['facts', 'expires_at', 'used_at'])
    .where('digest', '=', digest)
    .executeTakeFirst()
}

/** Uses a proof up; `undefined` when it is unknown, used or too old. Of many at once, one gets it. */
export async function useProof(
  tx: Tx,
  proof: { digest: Buffer; kind: string; now: Date },
): Promise<ProofRow | undefined> {
  return tx
    .updateTable('identity.one_time_proofs')
    .set({ used_at: proof.now })
    .where('digest', '=', proof.digest)
    .where('kind', '=', proof.kind)
    .where('used_at', 'is', null)
    .where('expires_at', '>', proof.now)
    .returning(COLUMNS)
    .executeTakeFirst()
}

/** Counts a wrong answer to a proof that asks for one; answers how many there were. */
export async function countAttempt(
  tx: Tx,
  proof: { digest: Buffer; kind: string; now: Date },
): Promise<ProofRow | undefined> {
  return tx
    .updateTable('identity.one_time_proofs')
    .set((eb) => ({ attempts: eb('attempts', '+', 1) }))
    .where('digest', '=', proof.digest)
    .where('kind', '=', proof.kind)
    .where('used_at', 'is', null)
    .where('expires_at', '>', proof.now)
    .returning(COLUMNS)
    .executeTakeFirst()
}

/** Changes the facts of a proof that is still good. */
export async function updateProofFacts(
  tx: Tx,
  proof: { digest: Buffer; kind: string; now: Date; facts: object },
): Promise<boolean> {
  const row = await tx
    .updateTable('identity.one_time_proofs')
    .set({ facts: JSON.stringify(proof.facts) })
    .where('digest', '=', proof.digest)
    .where('kind', '=', proof.kind)
    .where('used_at', 'is', null)
    .where('expires_at', '>', proof.now)
    .returning('digest')
    .executeTakeFirst()
  return row !== undefined
}

/** Takes a user's unused proofs of these kinds away. */
export async function withdrawProofs(
  tx: Tx,
  user_id: string,
  kinds: readonly string[],
  now: Date,
): Promise<void> {
  await tx
    .updateTable('identity.one_time_proofs')
    .set({ used_at: now })
    .where('user_id', '=', user_id)
    .where('kind', 'in', [...kinds])
    .where('used_at', 'is', null)
    .execute()
}

/** Deletes proofs that ended before the moment. */
export async function deleteOldProofs(tx: Tx, before: Date): Promise<void> {
  await tx.deleteFrom('identity.one_time_proofs').where('expires_at', '<', before).execute()
}
