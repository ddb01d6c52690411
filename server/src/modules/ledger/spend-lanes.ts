import type { QueryArrayConfig } from 'pg'
import type { Clock } from '#kernel/clock'
import { createCoalescer, type Coalescer } from '#kernel/coalesce'
import { asOperational } from '#kernel/db'
import { assert, OperationalError } from '#kernel/errors'
import { ConnectionLost, openLaneConnection, type LaneConnection } from './lane-connection.ts'
import {
  readBatch,
  readRest,
  spendBatch,
  spendRest,
  type SpendItem,
  type SpendOutcome,
} from './spend-queries.ts'

/**
 * Group commit: spends that arrive while the database works on a batch wait in a lane and go together as the
 * next one. There is no timer, so a lone spend is not delayed.
 */
export interface SpendLanes {
  /**
   * Does one spend once per wallet and key. Resolves when it is durable, or when it was refused.
   * Throws OperationalError when the database does not answer for about three seconds: the outcome is then
   * unknown, and the same key finds it.
   */
  spend(item: SpendItem): Promise<SpendOutcome>
  /** Opens the connections, so that the first spend need not wait for one. */
  start(): Promise<void>
  /** Takes nothing new, finishes what waits, closes the connections. Repeatable. */
  stop(): Promise<void>
  /** Spends that wait or are under way. */
  readonly depth: number
}

export interface SpendLanesOptions {
  url: string
  clock: Clock
  /** Connections; a wallet always has the same one. Default 1, see LANES. */
  lanes?: number
  /** Spends in one commit at most; default 200. */
  batch_max?: number
}

/** A caller's own answer, so that one refused item does not fail its batch. */
type Answer = { outcome: SpendOutcome } | { error: unknown }

interface Lane {
  coalescer: Coalescer<SpendItem, Answer>
  connection: LaneConnection | undefined
}

/** One keeps two cores busy, two did no more (bench/ledger-lanes.ts); more help only with more cores. */
const LANES = 1
const BATCH_MAX = 200
/** Longer queues would only turn overload into timeouts. */
const WAITING_MAX = 20_000
/** How long a lost connection is tried again before the callers are told. */
const PATIENCE_MS = 3_000
const RECONNECT_PAUSE_MS = 50
/** Two seconds of work are two hundred times a usual batch; a wallet is locked for milliseconds. */
const STATEMENT_TIMEOUT_MS = 2_000
const LOCK_TIMEOUT_MS = 1_000

/** Makes the lanes of a process; connections open on the first spend or on `start`. */
export function createSpendLanes(options: SpendLanesOptions): SpendLanes {
  const lanes = Array.from({ length: options.lanes ?? LANES }, () => createLane(options))
  const under_way = new Map<string, { item: SpendItem; outcome: Promise<SpendOutcome> }>()

  const enter = async (item: SpendItem): Promise<SpendOutcome> => {
    // A wallet always has the same lane, so a process never waits for a lock of its own.
    const lane = lanes[Number(item.wallet_id % BigInt(lanes.length))]
    assert(lane, 'there is no lane')
    const answer = await lane.coalescer.add(item)
    if ('error' in answer) throw answer.error
    return answer.outcome
  }

  const spend = (item: SpendItem): Promise<SpendOutcome> => {
    const name = `${item.wallet_id}:${item.key_digest.toString('latin1')}`
    const twin = under_way.get(name)
    if (twin) {
      if (twin.item.input_digest.equals(item.input_digest)) return twin.outcome
      // Another request under the same key: whether it is refused depends on what becomes of the first.
      const again = (): Promise<SpendOutcome> => spend(item)
      return twin.outcome.then(again, again)
    }
    const outcome = enter(item).finally(() => under_way.delete(name))
    under_way.set(name, { item, outcome })
    return outcome
  }

  return {
    spend,
    start: async () => {
      for (const lane of lanes) lane.connection ??= await connect(options)
    },
    stop: async () => {
      await Promise.all(lanes.map((lane) => lane.coalescer.stop()))
      await Promise.all(lanes.map(async (lane) => lane.connection?.close()))
    },
    get depth() {
      return under_way.size
    },
  }
}

function createLane(options: SpendLanesOptions): Lane {
  const lane: Lane = {
    connection: undefined,
    coalescer: createCoalescer({
      flush: (items) => settle(options, lane, items, performance.now() + PATIENCE_MS),
      batch_max: options.batch_max ?? BATCH_MAX,
      waiting_max: WAITING_MAX,
    }),
  }
  return lane
}

/**
 * The answer to every item of a batch. When the database refuses the batch as a whole (a wallet stays
 * locked, or one item is at fault) its wallets are tried one after another, so that one does not fail all.
 */
async function settle(
  options: SpendLanesOptions,
  lane: Lane,
  items: readonly SpendItem[],
  until_ms: number,
): Promise<Answer[]> {
  try {
    const outcomes = await perform(options, lane, items)
    return outcomes.map((outcome) => ({ outcome }))
  } catch (error) {
    const is_over = error instanceof OperationalError || performance.now() > until_ms
    const parts = is_over ? [] : split(items)
    if (parts.length === 0) return items.map(() => ({ error: asOperational(error) }))
    const answers = new Map<SpendItem, Answer>()
    for (const part of parts) {
      const part_answers = await settle(options, lane, part, until_ms)
      for (const [index, item] of part.entries()) {
        const answer = part_answers[index]
        if (answer) answers.set(item, answer)
      }
    }
    return items.map((item) => answers.get(item) ?? { error: asOperational(error) })
  }
}

/** By wallet; of one wallet, one by one. Nothing when there is nothing left to split. */
function split(items: readonly SpendItem[]): SpendItem[][] {
  const by_wallet = Map.groupBy(items, (item) => item.wallet_id)
  if (by_wallet.size > 1) return [...by_wallet.values()]
  return items.length > 1 ? items.map((item) => [item]) : []
}

async function perform(
  options: SpendLanesOptions,
  lane: Lane,
  items: readonly SpendItem[],
): Promise<SpendOutcome[]> {
  const now = options.clock.now()
  const done = readBatch(await run(options, lane, spendBatch(items, now)), items, now)
  const left = items.filter((_, index) => done[index] === undefined)
  const rest = left.length === 0 ? [] : readRest(await run(options, lane, spendRest(left, now)))
  assert(rest.length === left.length, 'a spend was left without an outcome')
  return done.map((outcome) => outcome ?? (rest.shift() as SpendOutcome))
}

/**
 * Runs a statement, again on a new connection when one breaks. A statement that was done already answers as a
 * replay then: every item has its key, so repeating a batch is safe.
 */
async function run(options: SpendLanesOptions, lane: Lane, query: QueryArrayConfig): Promise<unknown[]> {
  const until_ms = performance.now() + PATIENCE_MS
  for (;;) {
    const connection = await ensureConnection(options, lane, until_ms)
    try {
      return await connection.run(query)
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
      if (performance.now() > until_ms) throw unavailable(error)
    }
  }
}

async function ensureConnection(
  options: SpendLanesOptions,
  lane: Lane,
  until_ms: number,
): Promise<LaneConnection> {
  for (;;) {
    if (lane.connection && !lane.connection.is_lost) return lane.connection
    try {
      lane.connection = await connect(options)
    } catch (error) {
      if (performance.now() > until_ms) throw unavailable(error)
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_PAUSE_MS))
    }
  }
}

function unavailable(cause: unknown): OperationalError {
  const detail = 'The database does not answer now; ask again under the same key.'
  return new OperationalError('database_unavailable', detail, { cause })
}

function connect(options: SpendLanesOptions): Promise<LaneConnection> {
  return openLaneConnection({
    url: options.url,
    application_name: 'kopilka-spends',
    statement_timeout_ms: STATEMENT_TIMEOUT_MS,
    lock_timeout_ms: LOCK_TIMEOUT_MS,
  })
}
