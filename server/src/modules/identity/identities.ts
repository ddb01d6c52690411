import type { Db, Sql, Tx } from '#kernel/db'
import { assert, NotFound, violatedConstraint } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { IdentityTaken, LastWayToSignIn } from './people-errors.ts'
import { identityLinked, identityUnlinked } from './people-events.ts'
import type { Client, PeopleKit } from './people-kit.ts'
import * as queries from './people-queries.ts'
import { createProof, PROOFS } from './proofs.ts'
import type { SessionMode } from './sessions.ts'
import { enterInTx, finish, type SignInOutcome } from './sign-in.ts'
import { createUser, lockUser } from './users.ts'

/** Who a user is at a vendor. */
export type Identity = queries.IdentityRow
export type Provider = queries.Provider

/** Somebody a vendor vouched for, just now. */
export interface ProvedIdentity {
  provider: Provider
  /** The vendor's own id of the person. */
  subject: string
  name: string | null
  locale: string | null
  /** Only when the vendor vouches for it; otherwise null. */
  verified_email: string | null
  facts: object
}

/**
 * Lets somebody in whom a vendor vouched for; a new user is made at the first time. A user with the same
 * e-mail address is not taken for the same person: linking is done in a session. Of many first times at once
 * one makes the user.
 * Throws UserDisabled.
 */
export async function signInWithIdentity(
  db: Db,
  kit: PeopleKit,
  input: { identity: ProvedIdentity; mode: SessionMode; client: Client; check?: (tx: Tx) => Promise<void> },
): Promise<SignInOutcome> {
  const { identity, mode, client } = input
  const attempt = () =>
    db.transact(async (tx) => {
      await input.check?.(tx)
      const user_id = await ensureUser(tx, kit, identity)
      const user = await lockUser(tx, user_id)
      return enterInTx(tx, kit, { user, methods: [identity.provider], mode, client })
    })
  const entry = await attempt().catch((error: unknown) => {
    // Somebody else made the same user, or one with the address, at the same moment: now he is there.
    const constraint = violatedConstraint(error)
    if (constraint !== 'identities_subject' && constraint !== 'users_email') throw error
    return attempt()
  })
  return finish(kit, entry)
}

async function ensureUser(tx: Tx, kit: PeopleKit, proved: ProvedIdentity): Promise<string> {
  const known = await queries.findIdentity(tx, proved.provider, proved.subject)
  if (known) {
    await queries.touchIdentity(tx, known.id, proved.facts, kit.clock.now())
    return known.user_id
  }
  const { verified_email } = proved
  const is_free = verified_email !== null && (await queries.findUserByEmail(tx, verified_email)) === undefined
  const user = await createUser(tx, kit, {
    email: is_free ? verified_email : null,
    is_email_verified: is_free,
    password_hash: null,
    name: proved.name,
    locale: proved.locale,
    telegram_id: proved.provider === 'telegram' ? proved.subject : undefined,
  })
  await insert(tx, kit, user.id, proved)
  return user.id
}

/**
 * Links an identity to a signed-in user; a repeat changes nothing. Throws {@link IdentityTaken} when it is
 * another user's, with a `merge_token`: whoever asks has just proved to be both.
 */
export async function linkIdentity(
  db: Db,
  kit: PeopleKit,
  input: { user_id: string; identity: ProvedIdentity; check?: (tx: Tx) => Promise<void> },
): Promise<Identity> {
  const attempt = () =>
    db.transact(async (tx) => {
      await input.check?.(tx)
      return linkInTx(tx, kit, input)
    })
  const outcome = await attempt().catch((error: unknown) => {
    // Somebody else linked the same identity at the same moment: now it is seen to be taken.
    if (violatedConstraint(error) !== 'identities_subject') throw error
    return attempt()
  })
  if ('merge_token' in outcome) throw taken(outcome.merge_token)
  return outcome
}

/**
 * As {@link linkIdentity}, and says by a token that it is another user's, so that the token can be committed.
 */
export async function linkInTx(
  tx: Tx,
  kit: PeopleKit,
  { user_id, identity }: { user_id: string; identity: ProvedIdentity },
): Promise<Identity | { merge_token: string }> {
  const user = await lockUser(tx, user_id)
  const known = await queries.findIdentity(tx, identity.provider, identity.subject)
  if (known && known.user_id !== user.id) {
    const facts = { other_user_id: known.user_id }
    const { token } = await createProof(tx, kit.clock, { kind: PROOFS.merge, user_id: user.id, facts })
    return { merge_token: token }
  }
  if (known) return known
  const linked = await insert(tx, kit, user.id, identity)
  assert(user.customer_id !== null, 'a user has a customer')
  const { provider, subject } = identity
  await kit.events.publish(tx, identityLinked, { user_id, customer_id: user.customer_id, provider, subject })
  return linked
}

/**
 * The refusal of {@link linkIdentity}. Without a token it tells nothing to merge by: for callers who are not
 * the user himself.
 */
export function taken(merge_token?: string): IdentityTaken {
  const facts = merge_token === undefined ? {} : { merge_token }
  return new IdentityTaken('It is linked to another user. If both are you, make one user of the two.', facts)
}

/**
 * Takes an identity from a user. Throws {@link LastWayToSignIn} when nothing else would let him in, and
 * NotFound.
 */
export async function unlinkIdentity(
  tx: Tx,
  kit: PeopleKit,
  { user_id, identity_id }: { user_id: string; identity_id: string },
): Promise<void> {
  const user = await lockUser(tx, user_id)
  const identities = await queries.listIdentities(tx, user_id)
  const identity = identities.find(({ id }) => id === identity_id)
  if (!identity) throw new NotFound(`There is no identity ${identity_id.slice(0, 40)}.`)
  const has_password = user.email !== null && user.password_hash !== null
  // A proved address lets its owner in by a link that sets a password.
  const has_mailbox = user.email !== null && user.email_verified_at !== null
  if (identities.length === 1 && !has_password && !has_mailbox) {
    throw new LastWayToSignIn('Link another identity or prove an e-mail address first.')
  }
  await queries.deleteIdentities(tx, user_id, [identity_id])
  const { provider, subject } = identity
  const customer_id = user.customer_id ?? ''
  await kit.events.publish(tx, identityUnlinked, { user_id, customer_id, provider, subject })
}

/** A user's identities, the oldest first. */
export async function listIdentities(sql: Sql, user_id: string): Promise<Identity[]> {
  return queries.listIdentities(sql, user_id)
}

async function insert(tx: Tx, kit: PeopleKit, user_id: string, proved: ProvedIdentity): Promise<Identity> {
  const created_at = kit.clock.now()
  const { provider, subject, facts } = proved
  return queries.insertIdentity(tx, {
    id: newId('idn', created_at.getTime()),
    user_id,
    provider,
    subject,
    facts,
    created_at,
  })
}
