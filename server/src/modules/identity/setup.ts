import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { type ApiKey, createApiKey, programAsMaker } from './api-keys.ts'
import { writeAudit } from './audit.ts'
import { SetupTokenInvalid } from './errors.ts'
import * as queries from './queries.ts'
import { digestSecret, type KeyMode, makeSetupToken } from './secret-key.ts'

const VALID_MS = 24 * 3_600_000

/** Whether somebody holds a key that may make others; if not, a start prints a set-up link. */
export async function isSetUp(sql: Sql, clock: Clock, mode: KeyMode): Promise<boolean> {
  return queries.hasAdminKey(sql, mode, clock.now())
}

/**
 * Makes the token of a set-up link, valid once and for 24 hours. Earlier links that were not used end with
 * it.
 */
export async function createSetupToken(tx: Tx, clock: Clock): Promise<{ token: string; expires_at: Date }> {
  const { token, digest } = makeSetupToken()
  const created_at = clock.now()
  const expires_at = new Date(created_at.getTime() + VALID_MS)
  await queries.replaceSetupToken(tx, { digest, created_at, expires_at })
  return { token, expires_at }
}

/** Whether a link would work now. Looking does not use it up: programs that preview links look. */
export async function isSetupTokenValid(sql: Sql, clock: Clock, token: string): Promise<boolean> {
  return queries.findSetupToken(sql, digestSecret(token), clock.now())
}

/**
 * Turns a token into the first admin key, exactly once however many ask at the same time.
 * Throws {@link SetupTokenInvalid}.
 */
export async function redeemSetupToken(
  tx: Tx,
  clock: Clock,
  input: { token: string; mode: KeyMode },
): Promise<ApiKey & { secret: string }> {
  if (!(await queries.useSetupToken(tx, digestSecret(input.token), clock.now()))) {
    throw new SetupTokenInvalid(
      'It was used, is older than a day, or a newer one was made. Start the server again.',
    )
  }
  const key = { name: 'First admin key', scopes: ['*'] }
  const made = await createApiKey(tx, clock, { mode: input.mode, maker: programAsMaker('setup'), key })
  await writeAudit(tx, clock, {
    actor: { kind: 'program', id: 'setup' },
    action: 'api_key.created',
    subject_id: made.id,
  })
  return made
}
