import { createHmac, randomBytes } from 'node:crypto'
import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { assert, DomainError, OperationalError } from '#kernel/errors'
import { type SecretBox, SecretUnreadable } from '#kernel/secrets'
import * as queries from './benefit-queries.ts'
import type { KnownBy } from './benefit-queries.ts'
import { mailboxOf } from './mailbox.ts'

export type { KnownBy } from './benefit-queries.ts'

/** Something that is given to a person once was given to this person, under whatever name he comes now. */
export class AlreadyGiven extends DomainError {
  readonly code = 'already_given'
  readonly status = 409
  readonly title = 'This was given to this person before.'
}

export interface BenefitKit {
  clock: Clock
  box: SecretBox
}

const CONTEXT = 'identity.benefit_key'

/**
 * Claims a benefit for a person, once for everything he is known by: his customers, his users' addresses,
 * vendors' ids and devices, and what `more` adds. To be called in the transaction that gives it, before a
 * wallet is locked. What is kept are digests, which outlive an erasure.
 * Throws {@link AlreadyGiven}; OperationalError when the key of the digests cannot be opened.
 */
export async function claimBenefit(
  tx: Tx,
  kit: BenefitKit,
  input: { benefit: string; customer_ids: readonly string[]; more: readonly KnownBy[] },
): Promise<void> {
  const { benefit, customer_ids } = input
  assert(customer_ids.length > 0, 'a benefit is for a customer')
  const { looked_at, kept } = await listMarks(tx, input)
  const digestOf = digester(await ensureKey(tx, kit))
  const digests = kept.map(digestOf)
  const made = await queries.insertClaims(tx, { benefits: [benefit], digests, now: kit.clock.now() })
  const is_new = new Set(made.map((digest) => digest.toString('hex')))
  if (looked_at.every((mark) => is_new.has(digestOf(mark).toString('hex')))) return
  throw new AlreadyGiven(`The benefit ${benefit} was given to this person before.`, { benefit })
}

/**
 * Adds what a person is known by now to every benefit he was given: an address he proved meanwhile, a
 * vendor's account he linked, what he brought into a merge. Whoever comes by one of these alone is known
 * then. Throws OperationalError when the key of the digests cannot be opened.
 */
export async function extendBenefits(
  tx: Tx,
  kit: BenefitKit,
  input: { customer_ids: readonly string[]; more: readonly KnownBy[] },
): Promise<void> {
  const sealed = await queries.findBenefitKey(tx)
  // Nobody was ever given anything.
  if (sealed === undefined) return
  const digestOf = digester(openKey(kit.box, sealed))
  // After the users are locked: a claim that was ahead is there to be seen, one behind sees what is new.
  const { kept } = await listMarks(tx, input)
  const own = customersMarks(input.customer_ids).map((one) => digestOf(markOf(one)))
  const benefits = await queries.listClaimedBy(tx, own)
  if (benefits.length === 0) return
  await queries.insertClaims(tx, { benefits, digests: kept.map(digestOf), now: kit.clock.now() })
}

/** What of a person is compared and kept, his users locked, so that he becomes known by nothing meanwhile. */
async function listMarks(
  tx: Tx,
  { customer_ids, more }: { customer_ids: readonly string[]; more: readonly KnownBy[] },
): Promise<{ looked_at: string[]; kept: string[] }> {
  await queries.lockUsersOf(tx, customer_ids)
  const known = await queries.listKnownBy(tx, customer_ids)
  return marksOf([...customersMarks(customer_ids), ...more, ...known])
}

/** Seals the key of the digests under the newest key of the box. Answers how many were changed. */
export async function resealBenefitKey(tx: Tx, box: SecretBox): Promise<number> {
  const sealed = await queries.findBenefitKey(tx)
  const fresh = sealed === undefined ? undefined : box.rewrap(sealed, CONTEXT)
  if (fresh === undefined) return 0
  await queries.resealBenefitKey(tx, fresh)
  return 1
}

/**
 * Which marks refuse a claim, and which it leaves. Whoever types another's address without proving it must
 * not use up what is its owner's: such an address is compared with those that were typed or proved before,
 * a proved one only with proved ones.
 */
function marksOf(known: readonly KnownBy[]): { looked_at: string[]; kept: string[] } {
  const looked_at = new Set<string>()
  const kept = new Set<string>()
  const proved = new Set(known.filter((one) => one.is_proved).map(markOf))
  for (const one of known) {
    const mark = markOf(one)
    const is_proved = proved.has(mark)
    looked_at.add(is_proved ? mark : typed(mark))
    if (is_proved) kept.add(mark)
    if (one.kind === 'email') kept.add(typed(mark))
  }
  return { looked_at: [...looked_at], kept: [...kept] }
}

const customersMarks = (customer_ids: readonly string[]): KnownBy[] =>
  customer_ids.map((value) => ({ kind: 'customer', value, is_proved: true }))
const digester =
  (key: Buffer) =>
  (mark: string): Buffer =>
    createHmac('sha256', key).update(mark).digest()
const typed = (mark: string): string => `typed\n${mark}`
const markOf = ({ kind, value }: KnownBy): string => `${kind}\n${kind === 'email' ? mailboxOf(value) : value}`

/** The key of all digests, made by whoever needs it first. */
async function ensureKey(tx: Tx, { clock, box }: BenefitKit): Promise<Buffer> {
  let sealed = await queries.findBenefitKey(tx)
  if (sealed === undefined) {
    const fresh = randomBytes(32).toString('base64url')
    await queries.insertBenefitKey(tx, box.seal(fresh, CONTEXT), clock.now())
    sealed = await queries.findBenefitKey(tx)
  }
  assert(sealed !== undefined, 'the key of the benefits was just made')
  return openKey(box, sealed)
}

function openKey(box: SecretBox, sealed: string): Buffer {
  try {
    return Buffer.from(box.open(sealed, CONTEXT), 'base64url')
  } catch (cause) {
    if (!(cause instanceof SecretUnreadable)) throw cause
    throw new OperationalError('benefit_key_unreadable', `It cannot be told who got what: ${cause.hint}`, {
      cause,
    })
  }
}
