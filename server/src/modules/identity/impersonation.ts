import type { Clock } from '#kernel/clock'
import type { Db, Tx } from '#kernel/db'
import { InvalidState, MissingScope } from '#kernel/errors'
import type { AccessTokens } from './access-tokens.ts'
import { permissionsOf } from './roles.ts'
import { openSession, type Session } from './sessions.ts'
import { lockUser } from './users.ts'

/** A look through a user's eyes: an access token that reads what he reads, and nothing that prolongs it. */
export interface Impersonation {
  session_id: string
  user_id: string
  access_token: string | null
  expires_in: number
}

/** As long as one access token: whoever needs more says why again. */
const VALID_MS = 600_000

/**
 * Lets a member of staff look through a user's eyes for ten minutes. The user sees it in his list of
 * sessions; the look changes nothing (the guard refuses every method that could). Throws NotFound for an
 * unknown user; {@link MissingScope} for oneself and for staff: nobody borrows an office; UserDisabled.
 */
export async function startImpersonation(
  db: Db,
  kit: { clock: Clock; tokens: AccessTokens },
  input: { staff_user_id: string; user_id: string; network: string },
): Promise<Impersonation> {
  const { user_id } = input
  const session = await db.transact((tx) => open(tx, kit.clock, input))
  const { access_token, expires_in } = await kit.tokens.sign({ user_id, session_id: session.id })
  return { session_id: session.id, user_id, access_token, expires_in }
}

async function open(
  tx: Tx,
  clock: Clock,
  input: { staff_user_id: string; user_id: string; network: string },
): Promise<Session> {
  const { staff_user_id, user_id, network } = input
  if (staff_user_id === user_id) throw new InvalidState('One looks through one’s own eyes anyway.')
  const user = await lockUser(tx, user_id)
  if ((await permissionsOf(tx, user.id)).size > 0) {
    throw new MissingScope('Members of the staff cannot be impersonated.')
  }
  // The refresh token is dropped: nobody has it, so the look cannot be prolonged.
  const { session } = await openSession(tx, clock, {
    user_id: user.id,
    mode: 'bearer',
    methods: [],
    client: { network },
    impersonator_id: staff_user_id,
    valid_ms: VALID_MS,
  })
  return session
}
