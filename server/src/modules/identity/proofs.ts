import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { ProofInvalid } from './people-errors.ts'
import * as queries from './proof-queries.ts'
import { digestOf, newToken } from './secret-token.ts'

/** What a one-time token is for: the word its text begins with, and how long it may be used. */
export interface ProofKind {
  name: string
  word: string
  valid_ms: number
}

const MINUTE_MS = 60_000
const kind = (name: string, word: string, minutes: number): ProofKind => ({
  name,
  word,
  valid_ms: minutes * MINUTE_MS,
})

/** Every kind there is. Whoever holds one of these tokens is believed, so none lives long. */
export const PROOFS = {
  registration: kind('registration', 'reg', 60),
  email_confirmation: kind('email_confirmation', 'eml', 60),
  email_change: kind('email_change', 'emc', 60),
  password_reset: kind('password_reset', 'pwr', 15),
  second_factor: kind('second_factor', 'chl', 5),
  merge: kind('merge', 'mrg', 10),
  oauth: kind('oauth', 'oas', 10),
  telegram_start: kind('telegram_start', 'tgs', 10),
  telegram_claim: kind('telegram_claim', 'tgc', 10),
  // How long a vendor's proof is remembered: longer than any window in which it is taken.
  vendor_proof: kind('vendor_proof', 'vnd', 120),
} as const satisfies Readonly<Record<string, ProofKind>>

/** A proof as its redeemer sees it. `facts` are what was put in when it was made. */
export type Proof = queries.ProofRow

/** Makes a token that proves one thing once. Only its digest is kept. */
export async function createProof(
  tx: Tx,
  clock: Clock,
  proof: {
    kind: ProofKind
    user_id?: string | null
    subject?: string | null
    facts?: object
    token?: string
  },
): Promise<{ token: string; expires_at: Date }> {
  const { token, digest } =
    proof.token === undefined
      ? newToken(proof.kind.word)
      : { token: proof.token, digest: digestOf(proof.token) }
  const created_at = clock.now()
  const expires_at = new Date(created_at.getTime() + proof.kind.valid_ms)
  const { user_id = null, subject = null, facts = {} } = proof
  await queries.insertProof(tx, {
    digest,
    kind: proof.kind.name,
    user_id,
    subject,
    facts,
    created_at,
    expires_at,
  })
  return { token, expires_at }
}

/** A proof that could be used now. Looking does not use it up. Throws {@link ProofInvalid}. */
export async function getProof(sql: Sql, clock: Clock, proof_kind: ProofKind, token: string): Promise<Proof> {
  const found = await queries.findProof(sql, {
    digest: digestOf(token),
    kind: proof_kind.name,
    now: clock.now(),
  })
  if (!found) throw invalid()
  return found
}

/** Uses a token up, once however many try at the same time. Throws {@link ProofInvalid}. */
export async function useProof(tx: Tx, clock: Clock, proof_kind: ProofKind, token: string): Promise<Proof> {
  const found = await queries.useProof(tx, {
    digest: digestOf(token),
    kind: proof_kind.name,
    now: clock.now(),
  })
  if (!found) throw invalid()
  return found
}

/** Takes a user's unused tokens of some kinds away. */
export async function withdrawProofs(
  tx: Tx,
  clock: Clock,
  user_id: string,
  kinds: readonly ProofKind[],
): Promise<void> {
  await queries.withdrawProofs(
    tx,
    user_id,
    kinds.map(({ name }) => name),
    clock.now(),
  )
}

function invalid(): ProofInvalid {
  return new ProofInvalid('It was used, is too old, or was replaced by a newer one.')
}
