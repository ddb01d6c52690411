import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { eraseUserRows } from './erasure-queries.ts'
import { endSessions } from './sessions.ts'
import { retireStaff } from './staff.ts'

/**
 * Forgets a user: his facts, identities, devices and second factor; his sessions and keys end. The id stays.
 * A repeat changes nothing. Throws InvalidState for the last owner.
 */
export async function eraseUser(tx: Tx, clock: Clock, user_id: string): Promise<void> {
  await retireStaff(tx, clock, user_id)
  await endSessions(tx, clock, { user_id, because: 'erased' })
  await eraseUserRows(tx, user_id, clock.now())
}
