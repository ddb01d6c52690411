import type { VendorDispute, VendorRefund } from '@kopilka/extension'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  PRICE,
  startRefundsWorld,
  UNITS,
  type Outcome,
  type Purchase,
  type RefundsWorld,
} from './payments.fixtures/refunds-world.ts'

/** Each is one purchase with what befalls it, drawn by a seed, so that a failure names a short run. */
const RUNS = 24
const STEPS = 14

let lab: RefundsWorld
beforeAll(async () => {
  lab = await startRefundsWorld()
}, 60_000)
afterAll(() => lab?.close())

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
  roll: (sides: number) => number
  bought: Purchase
  /** Money of it the vendor has let go or holds back: of a refund by its id, of a dispute by its own. */
  disputes: Map<string, VendorDispute>
  /** Everything that was ever true at the vendor, to be told at any later time, in any order, again. */
  words: (() => Promise<unknown>)[]
  trace: string[]
}

const OUTCOMES: readonly Outcome[] = ['succeeded', 'pending', 'failed', 'lost_answer', 'lost_question']

it(`gives the buyer money or units, never both, never neither, in ${RUNS} lives`, async () => {
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const trace: string[] = []
    try {
      await live(seed, trace)
    } catch (error) {
      throw new Error(`seed ${seed}: ${trace.join(' → ')}`, { cause: error })
    }
  }
  expect((await lab.world.call('GET', '/v1/verification')).body['findings']).toEqual([])
}, 300_000)

async function live(seed: number, trace: string[]): Promise<void> {
  const roll = dice(seed)
  const how = roll(5) === 0 ? 'late' : 'in time'
  const bought = await lab.buy(how)
  const spent = how === 'late' ? 0 : ([0, 0, 300, 1200][roll(4)] ?? 0)
  if (spent > 0) {
    const { customer_id } = bought
    await lab.world.call('POST', '/v1/spends', { customer_id, unit: 'minute', amount: spent })
  }
  trace.push(`${how}, ${spent} spent`)
  const run: Run = { roll, bought, disputes: new Map(), words: [], trace }
  lab.room.of = () => room(run)
  for (let step = 0; step < STEPS; step += 1) await STEP[roll(STEP.length)]?.(run)
  await end(run)
  await judge(run, { units: how === 'late' ? 0 : UNITS, spent })
}

/** What may befall a purchase. */
const STEP: readonly ((run: Run) => Promise<void>)[] = [
  askRefund,
  askRefund,
  settleOne,
  settleOne,
  changeMind,
  madeInCabinet,
  openDispute,
  endDispute,
  tellSomething,
  tellSomething,
  tellSomething,
  async ({ trace }) => {
    trace.push('look')
    await lab.look()
  },
]

async function askRefund(run: Run): Promise<void> {
  const amount = amountOf(run)
  const outcome = OUTCOMES[run.roll(OUTCOMES.length)] ?? 'failed'
  const { status, id = '' } = await lab.refund(run.bought, amount, outcome)
  run.trace.push(`refund ${amount} ${outcome}: ${status}`)
  const word = lab.held.get(`vr_${id}`)
  if (word) remember(run, word)
}

async function madeInCabinet(run: Run): Promise<void> {
  const amount = amountOf(run)
  if (room(run) < amount || run.roll(2) === 0) return
  const external_id = `cab_${run.bought.payment_id}_${run.trace.length}`
  const payment_external_id = run.bought.external_id
  const word = { external_id, payment_external_id, amount: BigInt(amount), currency: 'RUB' }
  run.trace.push(`cabinet ${amount}`)
  const made = lab.settle({ ...word, status: 'succeeded' }, 'succeeded')
  remember(run, made)
}

/** What the vendor was at comes to an end. */
async function settleOne(run: Run): Promise<void> {
  const waiting = own(run).filter(({ status }) => status === 'pending')
  const word = waiting[run.roll(waiting.length || 1)]
  if (!word) return
  await move(run, word, run.roll(3) > 0 ? 'succeeded' : 'failed')
}

/** What was said to have ended, ends otherwise. */
async function changeMind(run: Run): Promise<void> {
  const ended = own(run).filter(({ status }) => status !== 'pending')
  const word = ended[run.roll(ended.length || 1)]
  if (!word) return
  const status = word.status === 'failed' ? 'succeeded' : 'failed'
  if (status === 'succeeded' && room(run) < Number(word.amount)) return
  await move(run, word, status)
}

async function move(run: Run, word: VendorRefund, status: VendorRefund['status']): Promise<void> {
  run.trace.push(`${word.external_id.slice(0, 3)} ${word.amount} ${status}`)
  remember(run, lab.settle(word, status))
}

async function openDispute(run: Run): Promise<void> {
  const amount = Math.min(room(run), run.roll(2) === 0 ? PRICE : PRICE / 4)
  if (amount === 0 || run.disputes.size > 1) return
  const external_id = `dp_${run.bought.payment_id}_${run.disputes.size}`
  const contest = { amount: BigInt(amount), external_id, status: 'open' as const }
  run.disputes.set(external_id, { ...contest, payment_external_id: '', currency: 'RUB', reason: 'x' })
  run.trace.push(`dispute ${amount}`)
  run.words.push(() => lab.tellDispute(run.bought, contest))
}

async function endDispute(run: Run): Promise<void> {
  const open = [...run.disputes.values()].filter(({ status }) => status === 'open')
  const dispute = open[run.roll(open.length || 1)]
  if (!dispute) return
  const status = run.roll(2) === 0 ? ('won' as const) : ('lost' as const)
  const { external_id, amount } = dispute
  run.disputes.set(external_id, { ...dispute, status })
  run.trace.push(`dispute ${amount} ${status}`)
  run.words.push(() => lab.tellDispute(run.bought, { external_id, amount, status }))
}

/** Old or new, once or again. */
async function tellSomething({ roll, words, trace }: Run): Promise<void> {
  const index = roll(words.length || 1)
  trace.push(`tell ${index}: ${String(await words[index]?.())}`)
}

/** Everything comes to an end at the vendor; all of it is told, in some order, and the janitor looks. */
async function end(run: Run): Promise<void> {
  for (const word of own(run)) if (word.status === 'pending') await move(run, word, 'failed')
  while ([...run.disputes.values()].some(({ status }) => status === 'open')) await endDispute(run)
  const rest = [...run.words]
  while (rest.length > 0) {
    const [tell] = rest.splice(run.roll(rest.length), 1)
    run.trace.push(String(await tell?.()))
  }
  for (let times = 0; times < 3; times += 1) await lab.look()
}

async function judge(run: Run, { units, spent }: { units: number; spent: number }): Promise<void> {
  const refunded = sum(own(run).filter(({ status }) => status === 'succeeded'))
  const lost = sum([...run.disputes.values()].filter(({ status }) => status === 'lost'))
  const back = refunded + lost
  const payment = await lab.payment(run.bought.payment_id)
  expect(payment.refunded_amount, 'money that went back').toBe(back)
  const balance = await lab.balance(run.bought.customer_id)
  // Of each piece of money the units are rounded up; they come from what is left.
  const due = Math.max(0, units - spent - (units * back) / PRICE)
  expect(balance, 'units for the money that stayed').toBeLessThanOrEqual(Math.ceil(due))
  expect(balance, 'units for the money that stayed').toBeGreaterThanOrEqual(Math.max(0, Math.floor(due) - 8))
  if (back === 0) expect(balance).toBe(units - spent)
  const { body } = await lab.world.call<{ items: { status: string }[] }>(
    'GET',
    `/v1/refunds?payment_id=${run.bought.payment_id}`,
  )
  expect(body.items.filter(({ status }) => status === 'pending' || status === 'unknown')).toEqual([])
}

/** Refunds of this purchase as the vendor has them. */
function own({ bought }: Run): VendorRefund[] {
  return [...lab.held.values()].filter(
    ({ payment_id, payment_external_id }) =>
      payment_id === bought.payment_id || payment_external_id === bought.external_id,
  )
}

/** A vendor gives back no more than it took, and nothing that is contested. */
function room(run: Run): number {
  const gone = own(run).filter(({ status }) => status !== 'failed')
  const contested = [...run.disputes.values()].filter(({ status }) => status !== 'won')
  return PRICE - sum(gone) - sum(contested)
}

function amountOf({ roll }: Run): number {
  return [PRICE, PRICE / 2, PRICE / 4, 3333][roll(4)] ?? PRICE
}

function sum(parts: readonly { amount: bigint }[]): number {
  return parts.reduce((total, { amount }) => total + Number(amount), 0)
}

function remember(run: Run, word: VendorRefund): void {
  run.words.push(() => lab.tellRefund(word))
}
