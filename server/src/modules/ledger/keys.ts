import { hash } from 'node:crypto'
import { digestInput } from '#kernel/idempotency'

/** Who asks for a write, and under which name of his own. The pair is done once per wallet, for ever. */
export interface Keyed {
  actor_id: string
  idempotency_key: string
}

/** 16 bytes that stand for an actor's idempotency key in a wallet. */
export function keyDigest({ actor_id, idempotency_key }: Keyed): Buffer {
  return hash('sha256', `${actor_id}\0${idempotency_key}`, 'buffer').subarray(0, 16)
}

/** 16 bytes that stand for what was asked: the verb and every fact that changes what is kept. */
export function inputDigest(verb: string, facts: Readonly<Record<string, unknown>>): Buffer {
  return digestInput({ ...facts, verb })
}
