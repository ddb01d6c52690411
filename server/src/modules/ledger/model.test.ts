import { afterAll, beforeAll, expect, test } from 'vitest'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import { createModel, type Model } from './ledger.fixtures/model.ts'
import {
  adjust,
  captureHold,
  grantMany,
  placeHold,
  releaseHold,
  reverseSpend,
  revokeGrant,
  sweepExpiries,
  sweepHolds,
  transferUnits,
  type Hold,
} from './index.ts'

/** Operations in all; over several seeds, so that a failure names a short run. */
const OPERATIONS = 10_000
const SEEDS = [1, 2, 3, 4, 5]
const CUSTOMERS = 6
const HOUR = 3_600_000

let books: Books
beforeAll(async () => {
  books = await openBooks()
})
afterAll(() => books.close())

/** Numbers that look random and are the same for a seed on every machine (mulberry32). */
function dice(seed: number): (sides: number) => number {
  let state = seed
  return (sides) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides
  }
}

interface Run {
  seed: number
  model: Model
  roll: (sides: number) => number
  spends: { id: string; amount: bigint }[]
  holds: Hold[]
  grants: { id: string; customer_id: string; name: string }[]
  replays: (() => Promise<void>)[]
}

/** The answer, or the code of the refusal: what the model must say as well. */
async function outcomeOf<T>(work: Promise<T>): Promise<{ done: T } | { code: string }> {
  try {
    return { done: await work }
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (typeof code !== 'string') throw error
    return { code }
  }
}

const customerOf = (run: Run, n: number): string => `cus_${run.seed}_${n}`
const anyCustomer = (run: Run): string => customerOf(run, run.roll(CUSTOMERS))
const anyAmount = (run: Run): bigint => BigInt(1 + run.roll(run.roll(4) === 0 ? 200 : 30))
const pick = <T>(run: Run, list: readonly T[]): T | undefined => list[run.roll(Math.max(list.length, 1))]

type Operation = (run: Run, step: number) => Promise<void>

const give: Operation = async (run, step) => {
  const customer_id = anyCustomer(run)
  const now = books.clock.now_ms()
  const starts_at = run.roll(8) === 0 ? new Date(now + HOUR * (1 + run.roll(20))) : undefined
  const expires_at = run.roll(3) === 0 ? null : new Date(now + HOUR * (25 + run.roll(60)))
  const terms = {
    customer_id,
    amount: anyAmount(run),
    priority: [10, 50][run.roll(2)] ?? 10,
    is_paid: run.roll(2) === 0,
  }
  const name = `${run.seed}:${step}`
  const [made] = await books.write((tx) =>
    grantMany(tx, books.clock, [
      {
        ...terms,
        starts_at,
        expires_at,
        unit: 'minute',
        source: 'manual',
        source_id: name,
        actor_id: 'x',
      },
    ]),
  )
  run.model.give(customer_id, { name, ...terms, starts_at, expires_at: expires_at ?? undefined })
  run.grants.push({ id: made?.id ?? '', customer_id, name })
}

const use: Operation = async (run) => {
  const customer_id = anyCustomer(run)
  const amount = anyAmount(run)
  const key = keyed()
  const outcome = await outcomeOf(books.spend(customer_id, amount, key))
  expect('done' in outcome).toBe(
    run.model.spend(customer_id, amount, 'done' in outcome ? outcome.done.id : ''),
  )
  if (!('done' in outcome)) return
  run.spends.push({ id: outcome.done.id, amount })
  run.replays.push(async () => {
    expect(await books.spend(customer_id, amount, key)).toEqual({ ...outcome.done, is_replay: true })
  })
}

const place: Operation = async (run) => {
  const customer_id = anyCustomer(run)
  const wish = {
    customer_id,
    unit: 'minute',
    amount: anyAmount(run),
    ttl_seconds: 3600 * (1 + run.roll(24)),
    ...keyed(),
  }
  const work = (): Promise<Hold> => books.write((tx) => placeHold(tx, books.clock, wish))
  const outcome = await outcomeOf(work())
  const id = 'done' in outcome ? outcome.done.id : ''
  expect('done' in outcome).toBe(run.model.hold(customer_id, wish.amount, id, wish.ttl_seconds))
  if (!('done' in outcome)) return
  run.holds.push(outcome.done)
  run.replays.push(async () => {
    expect(await work()).toEqual({ ...outcome.done, is_replay: true })
  })
}

const capture: Operation = async (run) => {
  const held = pick(run, run.holds)
  if (!held) return
  const amount = BigInt(1 + run.roll(Number(held.amount) + 2))
  const wish = { hold_id: held.id, amount, ...keyed() }
  const outcome = await outcomeOf(books.write((tx) => captureHold(tx, books.clock, wish)))
  const spend_id = 'done' in outcome ? (outcome.done.spend_id ?? '') : ''
  expect('done' in outcome).toBe(run.model.capture(held.id, amount, spend_id))
  if (!('done' in outcome)) return
  run.spends.push({ id: spend_id, amount })
  run.replays.push(async () => {
    expect(await books.write((tx) => captureHold(tx, books.clock, wish))).toEqual({
      ...outcome.done,
      is_replay: true,
    })
  })
}

const release: Operation = async (run) => {
  const held = pick(run, run.holds)
  if (!held) return
  const wish = { hold_id: held.id, ...keyed() }
  const outcome = await outcomeOf(books.write((tx) => releaseHold(tx, books.clock, wish)))
  expect('done' in outcome).toBe(run.model.release(held.id))
}

const reverse: Operation = async (run) => {
  const spent = pick(run, run.spends)
  if (!spent) return
  const amount = BigInt(1 + run.roll(Number(spent.amount)))
  const wish = { spend_id: spent.id, amount, ...keyed() }
  const outcome = await outcomeOf(books.write((tx) => reverseSpend(tx, books.clock, wish)))
  expect('done' in outcome).toBe(run.model.reverse(spent.id, amount))
}

const revoke: Operation = async (run) => {
  const given = pick(run, run.grants)
  if (!given) return
  const amount = anyAmount(run)
  const taken = await books.write((tx) =>
    revokeGrant(tx, books.clock, {
      grant_id: given.id,
      amount,
      reason: 'refund',
      ...keyed(),
    }),
  )
  expect(taken).toBe(run.model.revoke(given.name, amount))
}

const correct: Operation = async (run, step) => {
  const customer_id = anyCustomer(run)
  const amount = run.roll(2) ? anyAmount(run) : -anyAmount(run)
  const outcome = await outcomeOf(
    books.write((tx) =>
      adjust(tx, books.clock, {
        customer_id,
        unit: 'minute',
        amount,
        reason: 'count',
        ...keyed(),
      }),
    ),
  )
  expect('done' in outcome).toBe(run.model.adjust(customer_id, amount, `adjust:${step}`))
}

const send: Operation = async (run, step) => {
  const [from_customer_id, to_customer_id] = [anyCustomer(run), anyCustomer(run)]
  const amount = anyAmount(run)
  const outcome = await outcomeOf(
    books.write((tx) =>
      transferUnits(tx, books.clock, {
        from_customer_id,
        to_customer_id,
        unit: 'minute',
        amount,
        ...keyed(),
      }),
    ),
  )
  const expected =
    from_customer_id !== to_customer_id &&
    run.model.send(from_customer_id, to_customer_id, amount, `gift:${step}`)
  expect('done' in outcome).toBe(expected)
}

const wait: Operation = async (run) => {
  books.clock.advance(HOUR * (1 + run.roll(6)))
  // A hold's units come back when it is swept; a grant's end counts by itself.
  await sweepHolds(books)
  if (run.roll(2)) await sweepExpiries(books)
  run.model.tick(books.clock.now())
}

const again: Operation = async (run) => {
  await pick(run, run.replays)?.()
}

/** How often each is chosen, out of the sum. */
const OPERATIONS_BY_WEIGHT: readonly (readonly [number, Operation])[] = [
  [20, give],
  [34, use],
  [10, place],
  [8, capture],
  [5, release],
  [8, reverse],
  [4, revoke],
  [4, correct],
  [4, send],
  [4, wait],
  [5, again],
]

function choose(run: Run): Operation {
  let at = run.roll(OPERATIONS_BY_WEIGHT.reduce((sum, [weight]) => sum + weight, 0))
  for (const [weight, operation] of OPERATIONS_BY_WEIGHT) {
    if (at < weight) return operation
    at -= weight
  }
  return use
}

test.each(SEEDS)('random operations end as in the model (seed %i)', { timeout: 240_000 }, async (seed) => {
  const run: Run = {
    seed,
    model: createModel(books.clock.now()),
    roll: dice(seed),
    spends: [],
    holds: [],
    grants: [],
    replays: [],
  }
  for (let step = 0; step < OPERATIONS / SEEDS.length; step++) {
    run.model.tick(books.clock.now())
    await choose(run)(run, step)
    if (step % 4 !== 0) continue
    const customer_id = anyCustomer(run)
    const { balance, held } = await books.wallet(customer_id)
    expect({ balance, held }, `step ${step}`).toEqual(run.model.wallet(customer_id))
  }
  await sweepHolds(books)
  await sweepExpiries(books)
  run.model.tick(books.clock.now())
  for (let n = 0; n < CUSTOMERS; n++) {
    const left = Object.values(await books.left(customerOf(run, n))).filter((remaining) => remaining > 0n)
    expect(left.toSorted()).toEqual(run.model.left(customerOf(run, n)).toSorted())
  }
  expect(await books.findings()).toEqual([])
})
