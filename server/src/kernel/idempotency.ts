import { createHash } from 'node:crypto'
import type { Db, Tx } from './db.ts'
import { DomainError } from './errors.ts'
import { newId, type IdPrefix } from './ids.ts'
import type { Clock } from './clock.ts'
import * as queries from './idempotency-queries.ts'
import { wireJson } from './json.ts'

/** The same key came with another request. Nothing was changed. */
export class IdempotencyKeyReused extends DomainError {
  readonly code = 'idempotency_key_reused'
  readonly status = 422
  readonly title = 'This idempotency key was used for another request.'
}

/** The first request with this key still runs. */
export class IdempotencyInProgress extends DomainError {
  readonly code = 'idempotency_in_progress'
  readonly status = 409
  readonly title = 'A request with this idempotency key is still running.'
}

/** Who asks, by which route, under which key, for what. `input` is everything that changes the outcome. */
export interface KeyedRequest {
  actor_id: string
  route: string
  key: string
  input: unknown
}

/** What is sent back, kept as text so that a replay is the same byte for byte. */
export interface Answer {
  status: number
  text: string
  is_replay: boolean
}

/**
 * A claim of a request that spans the outside world is taken over after this long without an answer.
 * Longer than the slowest vendor call (35 s), so a live process is not overtaken; a dead one blocks for 45 s.
 */
const LEASE_MS = 45_000

/**
 * Does `work` once per (actor, route, key), in one transaction with the memory of its answer.
 * A replay answers the first text. An error stores nothing: the same key may be tried again.
 * Throws {@link IdempotencyKeyReused}, {@link IdempotencyInProgress}, and whatever `work` throws.
 */
export async function answerOnce(
  db: Db,
  clock: Clock,
  request: KeyedRequest,
  work: (tx: Tx) => Promise<{ status: number; body: unknown }>,
): Promise<Answer> {
  const input_digest = digestInput(request.input)
  return db.transact(async (tx) => {
    const is_new = await queries.insertClaim(tx, { ...request, input_digest, created_at: clock.now() })
    if (!is_new) {
      // The insert waited for a rival's transaction, so what is here now is committed.
      const stored = await queries.findKey(tx, request)
      return replay(stored, input_digest, request)
    }
    const { status, body } = await work(tx)
    const text = wireJson(body)
    await queries.storeAnswer(tx, { ...request, status, answer: text })
    return { status, text, is_replay: false }
  })
}

/**
 * As {@link answerOnce} for work that spans the outside world. `work` gets the id its resource must have:
 * after a crash a retry gets the same id and goes on where the first one stopped, so `work` must find or make
 * the resource with this id and repeat its outside calls under ids derived from it.
 */
export async function answerOnceAcross(
  db: Db,
  clock: Clock,
  request: KeyedRequest,
  prefix: IdPrefix,
  work: (resource_id: string) => Promise<{ status: number; body: unknown }>,
): Promise<Answer> {
  const input_digest = digestInput(request.input)
  const claimed = await db.transact(async (tx) => {
    const now = clock.now()
    const leased_until = new Date(now.getTime() + LEASE_MS)
    const resource_id = newId(prefix, now.getTime())
    if (
      await queries.insertClaim(tx, { ...request, input_digest, created_at: now, resource_id, leased_until })
    ) {
      return { resource_id, leased_until }
    }
    const stored = await queries.findKeyForUpdate(tx, request)
    if (stored.answer !== null) return { answer: replay(stored, input_digest, request) }
    checkInput(stored, input_digest, request)
    if (stored.leased_until !== null && stored.leased_until > now) throw inProgress(request)
    await queries.renewLease(tx, { ...request, leased_until })
    return { resource_id: stored.resource_id ?? resource_id, leased_until }
  })
  if (claimed.answer) return claimed.answer
  try {
    const { status, body } = await work(claimed.resource_id)
    const text = wireJson(body)
    return await db.transact(async (tx) => {
      if (await queries.storeAnswer(tx, { ...request, status, answer: text }))
        return { status, text, is_replay: false }
      // We took so long that another one took over and answered first: there is one answer to a key.
      return replay(await queries.findKey(tx, request), input_digest, request)
    })
  } catch (error) {
    // The claim keeps its resource id and is free at once, unless another one has taken it over. When even
    // that fails the lease runs out by itself, and what the caller has to hear is the first error.
    await db
      .transact((tx) => queries.endLease(tx, { ...request, leased_until: claimed.leased_until }))
      .catch(() => undefined)
    throw error
  }
}

/** 16 bytes that are equal for equal inputs; the order of members does not matter. */
export function digestInput(input: unknown): Buffer {
  return createHash('sha256').update(canonicalJson(input)).digest().subarray(0, 16)
}

/** JSON with members in order of their names, bigints as digits, undefined members left out. */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Date) return JSON.stringify(value.toISOString())
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`)
    return `{${members.join(',')}}`
  }
  return JSON.stringify(value) ?? 'null'
}

function replay(stored: queries.StoredKey, input_digest: Buffer, request: KeyedRequest): Answer {
  checkInput(stored, input_digest, request)
  if (stored.answer === null || stored.status === null) throw inProgress(request)
  return { status: stored.status, text: stored.answer, is_replay: true }
}

function checkInput(stored: queries.StoredKey, input_digest: Buffer, request: KeyedRequest): void {
  if (!stored.input_digest.equals(input_digest)) {
    throw new IdempotencyKeyReused(
      `The key ${request.key} belongs to a request with another body; nothing was changed.`,
    )
  }
}

function inProgress(request: KeyedRequest): IdempotencyInProgress {
  return new IdempotencyInProgress(
    `The first request with the key ${request.key} has no answer yet; ask again soon.`,
    {
      retry_after_seconds: 1,
    },
  )
}
