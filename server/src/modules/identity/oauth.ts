import { createHash, randomBytes } from 'node:crypto'
import type { Db } from '#kernel/db'
import type { Identity, ProvedIdentity } from './identities.ts'
import { linkIdentity, signInWithIdentity } from './identities.ts'
import { ProofInvalid, SignInNotOffered, VendorProofInvalid } from './people-errors.ts'
import type { Client, PeopleKit } from './people-kit.ts'
import { getProof, PROOFS, createProof, useProof, type Proof } from './proofs.ts'
import { digestOf, newToken } from './secret-token.ts'
import type { SessionMode } from './sessions.ts'
import type { SignInProvider, VendorPerson } from './sign-in-provider.ts'
import type { SignInOutcome } from './sign-in.ts'
import { plainEmail } from './users.ts'
import { countBegun, withProof } from './vendor-limits.ts'

/** A sign-in at a vendor that was begun. */
export interface OauthStart {
  authorize_url: string
  /** Comes back from the vendor, unchanged. */
  state: string
  /** What whoever began keeps, and shows at the end: a state alone, sent to somebody else, opens nothing. */
  flow_token: string
  expires_at: Date
}

interface OauthFacts {
  provider: string
  /** Sealed: it would let whoever reads the database finish the flow. */
  verifier_sealed: string
  nonce: string
  flow_digest: string
  mode: SessionMode
  client: Client
}

export interface OauthAnswer {
  provider: string
  state: string
  code: string
  flow_token: string
  /** Where the answer comes from. */
  network: string
  /** VK's own. */
  device_id?: string | undefined
}

const VERIFIER_CONTEXT = 'identity.oauth'

/** Begins a sign-in at a vendor, or linking it to a user. Throws SignInNotOffered, TooManyRequests. */
export async function beginOauth(
  db: Db,
  kit: PeopleKit,
  input: { provider: string; mode: SessionMode; client: Client; user_id?: string | undefined },
): Promise<OauthStart> {
  const provider = providerOf(kit, input.provider)
  await countBegun(kit, input.client.network)
  const verifier = randomBytes(48).toString('base64url')
  const nonce = randomBytes(16).toString('base64url')
  const flow = newToken('oaf')
  const facts: OauthFacts = {
    provider: provider.id,
    verifier_sealed: kit.box.seal(verifier, VERIFIER_CONTEXT),
    nonce,
    flow_digest: flow.digest.toString('base64url'),
    mode: input.mode,
    client: input.client,
  }
  const { token: state, expires_at } = await db.transact((tx) =>
    createProof(tx, kit.clock, { kind: PROOFS.oauth, user_id: input.user_id ?? null, facts }),
  )
  const code_challenge = codeChallenge(verifier)
  const authorize_url = await provider.authorizeUrl({ state, nonce, code_challenge })
  return { authorize_url, state, flow_token: flow.token, expires_at }
}

/** What a vendor is told of a verifier, which it is shown only at the end (PKCE, method S256). */
export function codeChallenge(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url')
}

/**
 * Ends a sign-in at a vendor: checks that whoever ends it began it, and exchanges the code with the vendor.
 * Throws ProofInvalid, VendorProofInvalid, SignInNotOffered, UserDisabled, TooManyRequests,
 * GatewayUnavailable.
 */
export async function finishOauth(db: Db, kit: PeopleKit, answer: OauthAnswer): Promise<SignInOutcome> {
  const provider = providerOf(kit, answer.provider)
  return withProof(kit, answer.network, async () => {
    const { identity, facts, proof } = await exchange(db, kit, provider, answer)
    if (proof.user_id !== null) throw new ProofInvalid('It was begun to link, not to sign in.')
    return signInWithIdentity(db, kit, { identity, mode: facts.mode, client: facts.client })
  })
}

/** As {@link finishOauth}, and links the identity to the user who began. Throws IdentityTaken too. */
export async function finishOauthLink(
  db: Db,
  kit: PeopleKit,
  input: OauthAnswer & { user_id: string },
): Promise<Identity> {
  const provider = providerOf(kit, input.provider)
  return withProof(kit, input.network, async () => {
    const { identity, proof } = await exchange(db, kit, provider, input)
    if (proof.user_id !== input.user_id) throw new ProofInvalid('It was begun in another session.')
    return linkIdentity(db, kit, { user_id: input.user_id, identity })
  })
}

/** The vendors this installation can ask. */
export function listProviders(kit: PeopleKit): { id: string; title: string }[] {
  return [...kit.providers.values()].map(({ id, title }) => ({ id, title }))
}

async function exchange(
  db: Db,
  kit: PeopleKit,
  provider: SignInProvider,
  answer: OauthAnswer,
): Promise<{ identity: ProvedIdentity; facts: OauthFacts; proof: Proof }> {
  const proof = await getProof(db, kit.clock, PROOFS.oauth, answer.state)
  const facts = proof.facts as OauthFacts
  const is_beginner = digestOf(answer.flow_token).toString('base64url') === facts.flow_digest
  if (!is_beginner || facts.provider !== provider.id) {
    throw new ProofInvalid('This sign-in was begun elsewhere.')
  }
  // Used up before the vendor is asked: a code is exchanged once, whatever comes of it.
  await db.transact((tx) => useProof(tx, kit.clock, PROOFS.oauth, answer.state))
  const person = await provider.exchange({
    code: answer.code,
    code_verifier: kit.box.open(facts.verifier_sealed, VERIFIER_CONTEXT),
    state: answer.state,
    nonce: facts.nonce,
    device_id: answer.device_id,
    now: kit.clock.now(),
  })
  if ('refused' in person)
    throw new VendorProofInvalid(`${provider.title} did not vouch for this: ${person.refused}.`)
  return { identity: identityOf(provider, person), facts, proof }
}

function identityOf(provider: SignInProvider, person: VendorPerson): ProvedIdentity {
  const { subject, name, email, locale } = person
  return {
    provider: provider.id,
    subject,
    name: name?.slice(0, 200) ?? null,
    locale: locale?.slice(0, 35) ?? null,
    verified_email: person.is_email_verified && email !== null ? plainEmail(email) : null,
    facts: { name, email },
  }
}

function providerOf(kit: PeopleKit, id: string): SignInProvider {
  const provider = kit.providers.get(id)
  if (!provider) throw new SignInNotOffered(`There is no sign-in by ${id.slice(0, 40)} here.`)
  return provider
}
