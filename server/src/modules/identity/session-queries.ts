import { sql as raw, type Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

type Row = Selectable<Database['identity.sessions']>
/** A session without its secret. */
export type SessionRow = Omit<Row, 'cookie_digest' | 'mode'> & { mode: 'bearer' | 'cookie' }

/** What the authenticator needs to know of a session that is open. */
export interface OpenSession {
  id: string
  user_id: string
  customer_id: string | null
  impersonator_id: string | null
  methods: string[]
  cookie_digest: Buffer | null
  expires_at: Date
}

const SESSION = [
  'id',
  'user_id',
  'mode',
  'device_id',
  'device_name',
  'network',
  'methods',
  'impersonator_id',
  'generation',
  'created_at',
  'last_used_at',
  'expires_at',
  'ended_at',
  'ended_because',
] as const

export async function insertSession(
  tx: Tx,
  session: Omit<SessionRow, 'generation' | 'last_used_at' | 'ended_at' | 'ended_because'> & {
    cookie_digest: Buffer | null
  },
): Promise<SessionRow> {
  const row = await tx
    .insertInto('identity.sessions')
    .values({ ...session, last_used_at: session.created_at })
    .returning(SESSION)
    .executeTakeFirstOrThrow()
  return row
}

export async function insertRefreshToken(
  tx: Tx,
  token: { digest: Buffer; session_id: string; generation: number; salt: Buffer; created_at: Date },
): Promise<void> {
  await tx.insertInto('identity.refresh_tokens').values(token).execute()
}

/** The session a refresh token belongs to, whatever state both are in. */
export async function findSessionOfToken(sql: Sql, digest: Buffer): Promise<string | undefined> {
  const row = await sql
    .selectFrom('identity.refresh_tokens')
    .select('session_id')
    .where('digest', '=', digest)
    .executeTakeFirst()
  return row?.session_id
}

export async function lockSession(tx: Tx, id: string): Promise<SessionRow | undefined> {
  const row = await tx
    .selectFrom('identity.sessions')
    .select(SESSION)
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
  return row
}

export async function findRefreshToken(sql: Sql, digest: Buffer) {
  return sql
    .selectFrom('identity.refresh_tokens')
    .select(['generation', 'salt', 'used_at'])
    .where('digest', '=', digest)
    .executeTakeFirst()
}

export async function useRefreshToken(tx: Tx, digest: Buffer, now: Date): Promise<void> {
  await tx.updateTable('identity.refresh_tokens').set({ used_at: now }).where('digest', '=', digest).execute()
}

export async function moveSessionOn(
  tx: Tx,
  session: { id: string; generation: number; last_used_at: Date; expires_at: Date; network: string },
): Promise<SessionRow> {
  const { id, ...change } = session
  const row = await tx
    .updateTable('identity.sessions')
    .set(change)
    .where('id', '=', id)
    .returning(SESSION)
    .executeTakeFirstOrThrow()
  return row
}

/** Ends open sessions; answers their ids. Every condition that is given must hold. */
export async function endSessions(
  tx: Tx,
  which: {
    user_id?: string
    id?: string
    device_id?: string
    except?: string | undefined
    because: string
    now: Date
  },
): Promise<string[]> {
  let query = tx
    .updateTable('identity.sessions')
    .set({ ended_at: which.now, ended_because: which.because })
    .where('ended_at', 'is', null)
  if (which.user_id !== undefined) query = query.where('user_id', '=', which.user_id)
  if (which.id !== undefined) query = query.where('id', '=', which.id)
  if (which.device_id !== undefined) {
    query = query.where('device_id', '=', which.device_id).where('impersonator_id', 'is', null)
  }
  if (which.except !== undefined) query = query.where('id', '<>', which.except)
  const rows = await query.returning('id').execute()
  return rows.map(({ id }) => id)
}

/** A user's open sessions, the one used last first. */
export async function listSessions(sql: Sql, user_id: string, now: Date): Promise<SessionRow[]> {
  const rows = await sql
    .selectFrom('identity.sessions')
    .select(SESSION)
    .where('user_id', '=', user_id)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', now)
    .orderBy('last_used_at', 'desc')
    .orderBy('id')
    .limit(200)
    .execute()
  return rows
}

/** The open sessions of the ids or of the cookies, of users who may still sign in. */
export async function findOpenSessions(
  sql: Sql,
  by: { ids: readonly string[]; cookie_digests: readonly Buffer[] },
): Promise<OpenSession[]> {
  return sql
    .selectFrom('identity.sessions as s')
    .innerJoin('identity.users as u', 'u.id', 's.user_id')
    .select([
      's.id',
      's.user_id',
      'u.customer_id',
      's.impersonator_id',
      's.methods',
      's.cookie_digest',
      's.expires_at',
    ])
    .where((eb) =>
      eb.or([
        eb('s.id', '=', raw<string>`any(${[...by.ids]}::text[])`),
        eb('s.cookie_digest', '=', raw<Buffer>`any(${[...by.cookie_digests]}::bytea[])`),
      ]),
    )
    .where('s.ended_at', 'is', null)
    .where('u.is_disabled', '=', false)
    .where('u.merged_into', 'is', null)
    .where('u.erased_at', 'is', null)
    .execute()
}

/** Whether the owner of the address had a session from this network since the moment. */
export async function wasSeenFrom(
  sql: Sql,
  seen: { email: string; network: string; since: Date },
): Promise<boolean> {
  const row = await sql
    .selectFrom('identity.sessions as s')
    .innerJoin('identity.users as u', 'u.id', 's.user_id')
    .select('s.id')
    .where('u.email', '=', seen.email)
    .where('s.network', '=', seen.network)
    .where('s.last_used_at', '>', seen.since)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** Writes when sessions of browsers were used, and moves their end on. */
export async function markSessionsUsed(
  tx: Tx,
  uses: readonly { id: string; used_at: Date; expires_at: Date }[],
): Promise<void> {
  await raw`
    update identity.sessions s
    set last_used_at = greatest(s.last_used_at, u.used_at),
      expires_at = greatest(s.expires_at, least(u.expires_at, s.created_at + interval '180 days'))
    from unnest(
      ${uses.map(({ id }) => id)}::text[],
      ${uses.map(({ used_at }) => used_at)}::timestamptz[],
      ${uses.map(({ expires_at }) => expires_at)}::timestamptz[]
    ) as u (id, used_at, expires_at)
    where s.id = u.id and s.mode = 'cookie' and s.ended_at is null`.execute(tx)
}

/** Ends what has expired, so that its device is free; at most `limit` a call. */
export async function endExpiredSessions(tx: Tx, now: Date, limit: number): Promise<number> {
  const { rows } = await raw`
    update identity.sessions set ended_at = expires_at, ended_because = 'expired'
    where id in (
      select id from identity.sessions where ended_at is null and expires_at <= ${now}
      order by id limit ${limit} for update skip locked)
    returning id`.execute(tx)
  return rows.length
}

/** Deletes refresh tokens that were used before the moment, and all of sessions that ended before it. */
export async function deleteOldRefreshTokens(tx: Tx, before: Date): Promise<void> {
  await tx.deleteFrom('identity.refresh_tokens').where('used_at', '<', before).execute()
  await raw`
    delete from identity.refresh_tokens t using identity.sessions s
    where s.id = t.session_id and s.ended_at < ${before}`.execute(tx)
}

/** Notes that a session's person proved one thing more. */
export async function addSessionMethod(tx: Tx, id: string, method: string): Promise<void> {
  await raw`
    update identity.sessions set methods = array_append(methods, ${method})
    where id = ${id} and not ${method} = any(methods)`.execute(tx)
}
