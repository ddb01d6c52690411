import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { eraseUserRows } from './erasure-queries.ts'
import { endSessions } from './sessions.ts'
import type { Granter } from './roles.ts'
import { refuseAbove, retireStaff } from './staff.ts'

/**
 * Forgets a user: his facts, identities, devices and second factor; his sessions and keys end. The id stays.
 * A repeat changes nothing. Throws InvalidState for the last owner, MissingScope for staff who hold more than
 * whoever erases.
 */
export async function eraseUser(tx: Tx, clock: Clock, granter: Granter, user_id: string): Promise<void> {
  await refuseAbove(tx, granter, user_id)
  await retireStaff(tx, clock, user_id)
  await endSessions(tx, clock, { user_id, because: 'erased' })
  await eraseUserRows(tx, user_id, clock.now())
}
