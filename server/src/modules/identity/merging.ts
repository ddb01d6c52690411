import type { Db } from '#kernel/db'
import { InvalidState } from '#kernel/errors'
import { ProofInvalid } from './people-errors.ts'
import { userMerged } from './people-events.ts'
import type { PeopleKit } from './people-kit.ts'
import { moveIdentities, redirectMerged, updateUser } from './people-queries.ts'
import { PROOFS, useProof } from './proofs.ts'
import { permissionsOf } from './roles.ts'
import { hasSecondFactor } from './second-factor-state.ts'
import { endSessions } from './sessions.ts'
import { lockBoth } from './sign-in.ts'
import { shown, type User } from './users.ts'

/**
 * Makes one user of two, for whoever proved to be both: the one who is signed in stays, the other becomes an
 * alias, and everything he has moves over, his customer's grants included (by a reaction). What the survivor
 * lacks he takes over.
 * Throws ProofInvalid; InvalidState when the other has a second factor or is staff, whom support has to move.
 */
export async function mergeUsers(
  db: Db,
  kit: PeopleKit,
  input: { user_id: string; merge_token: string },
): Promise<User> {
  return db.transact(async (tx) => {
    const proof = await useProof(tx, kit.clock, PROOFS.merge, input.merge_token)
    const other_id = (proof.facts as { other_user_id: string }).other_user_id
    if (proof.user_id !== input.user_id || other_id === input.user_id) {
      throw new ProofInvalid('It was made in another session.')
    }
    const both = await lockBoth(tx, [input.user_id, other_id])
    const [into, from] = both ?? []
    if (!into || !from || into.merged_into !== null || from.merged_into !== null) {
      throw new ProofInvalid('One of the two is there no more.')
    }
    if (from.is_disabled || into.is_disabled || (await hasSecondFactor(tx, from.id))) {
      throw new InvalidState('The other user is protected; ask support to make one of the two.')
    }
    if ((await permissionsOf(tx, from.id)).size > 0) {
      throw new InvalidState('The other user is staff; ask the owner to make one of the two.')
    }
    const now = kit.clock.now()
    await updateUser(
      tx,
      from.id,
      { merged_into: into.id, customer_id: null, email: null, password_hash: null },
      now,
    )
    await redirectMerged(tx, from.id, into.id)
    await moveIdentities(tx, from.id, into.id)
    await endSessions(tx, kit.clock, { user_id: from.id, because: 'merged' })
    const takes_email = into.email === null && from.email !== null
    const survivor = await updateUser(
      tx,
      into.id,
      {
        name: into.name ?? from.name,
        locale: into.locale ?? from.locale,
        ...(takes_email ? { email: from.email, email_verified_at: from.email_verified_at } : {}),
        ...(takes_email && into.password_hash === null ? { password_hash: from.password_hash } : {}),
      },
      now,
    )
    await kit.events.publish(tx, userMerged, {
      from_user_id: from.id,
      into_user_id: into.id,
      from_customer_id: from.customer_id,
      into_customer_id: into.customer_id ?? '',
    })
    return shown(survivor)
  })
}
