import type { Clock } from '#kernel/clock'
import { afterCommit, type Tx } from '#kernel/db'
import { keyChanged } from './key-memory.ts'
import { scopesWithin } from './staff-permissions.ts'
import { endSessions } from './sessions.ts'
import { revokeKeysBeyond } from './staff-queries.ts'

/**
 * A user's rights changed: his sessions end, and the keys he made, and the keys those made, where they hold
 * more than he does now. Answers the ids of the keys.
 */
export async function endRightsBeyond(
  tx: Tx,
  clock: Clock,
  user_id: string,
  permissions: ReadonlySet<string>,
): Promise<string[]> {
  const scopes = [...scopesWithin(permissions)]
  await endSessions(tx, clock, { user_id, because: 'role changed' })
  const ended = await revokeKeysBeyond(tx, { user_id, scopes, now: clock.now() })
  afterCommit(() => {
    for (const id of ended) keyChanged(id)
  })
  return ended
}
