import { sql as raw } from 'kysely'
import type { Sql, Tx } from '#kernel/db'

/** One thing a person is known by. */
export interface KnownBy {
  /** `email`, `device`, or the vendor that knows the person. */
  kind: string
  value: string
  is_proved: boolean
}

/** What the users of customers are known by, and the users merged into them. */
export async function listKnownBy(sql: Sql, customer_ids: readonly string[]): Promise<KnownBy[]> {
  const { rows } = await raw<KnownBy>`
    with recursive users as (
      select id, email, email_verified_at
        from identity.users where customer_id = any(${[...customer_ids]}::text[])
      union
      select alias.id, alias.email, alias.email_verified_at
        from identity.users alias join users on alias.merged_into = users.id
    )
    select 'email' as kind, email as value, email_verified_at is not null as is_proved
      from users where email is not null
    union all
    select provider, subject, true from identity.identities where user_id in (select id from users)
    union all
    select 'device', device_id, true from identity.devices where user_id in (select id from users)
  `.execute(sql)
  return rows
}

/** Keeps the users of customers as they are until the end of the transaction. In the order of their ids. */
export async function lockUsersOf(tx: Tx, customer_ids: readonly string[]): Promise<void> {
  await tx
    .selectFrom('identity.users')
    .select('id')
    .where('customer_id', 'in', [...customer_ids])
    .orderBy('id')
    .forShare()
    .execute()
}

/** The benefits that were claimed by one of these digests. */
export async function listClaimedBy(sql: Sql, digests: readonly Buffer[]): Promise<string[]> {
  const rows = await sql
    .selectFrom('identity.benefit_claims')
    .select('benefit')
    .distinct()
    .where('digest', 'in', [...digests])
    .execute()
  return rows.map(({ benefit }) => benefit)
}

/**
 * Writes the claims that are not there yet, of every benefit with every digest, in one order, so that two who
 * claim the same never wait for each other; answers the digests that were new. Waits for whoever claims one
 * of them just now.
 */
export async function insertClaims(
  tx: Tx,
  claims: { benefits: readonly string[]; digests: readonly Buffer[]; now: Date },
): Promise<Buffer[]> {
  const { benefits, digests, now } = claims
  const { rows } = await raw<{ digest: Buffer }>`
    insert into identity.benefit_claims (benefit, digest, created_at)
    select benefit, decode(digest, 'hex'), ${now}
      from unnest(${[...benefits]}::text[]) as benefit
     cross join unnest(${digests.map((digest) => digest.toString('hex'))}::text[]) as digest
     order by benefit, digest
    on conflict do nothing
    returning digest`.execute(tx)
  return rows.map((row) => row.digest)
}

export async function findBenefitKey(sql: Sql): Promise<string | undefined> {
  const row = await sql.selectFrom('identity.benefit_key').select('key_sealed').executeTakeFirst()
  return row?.key_sealed
}

/** Keeps the first key that is offered; waits for whoever offers one just now. */
export async function insertBenefitKey(tx: Tx, key_sealed: string, now: Date): Promise<void> {
  await tx
    .insertInto('identity.benefit_key')
    .values({ key_sealed, created_at: now })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

export async function resealBenefitKey(tx: Tx, key_sealed: string): Promise<void> {
  await tx.updateTable('identity.benefit_key').set({ key_sealed }).execute()
}
