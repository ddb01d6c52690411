import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/kernel/embedded-postgres.ts'
import { migrate } from '../../src/kernel/migrate.ts'
import { startWorld, type Answer, type World } from '../world.ts'

/** Nobody may wait longer than this for a database that answers nothing. */
const LIMIT_MS = 20_000
const START = 1_000_000

const data_directory = mkdtempSync(path.join(tmpdir(), 'kopilka-frozen-'))
let postgres: EmbeddedPostgres
let world: World
let customer_id: string
beforeAll(async () => {
  postgres = await startEmbeddedPostgres({ data_directory, flags: ['fsync=off'] })
  await migrate(postgres.url)
  // Not the server of the other tests, which goes on.
  world = await startWorld((settings) => ({ ...settings, database_url: postgres.url }))
  customer_id = await world.customer()
  await grant('start', START)
}, 60_000)
afterAll(async () => {
  thaw()
  await world?.close()
  await postgres?.stop()
  rmSync(data_directory, { recursive: true, force: true })
})

/** The main process and every child of it. */
function processes(): number[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return new RegExp(`^PPid:\\s+${postgres.pid}$`, 'm').test(
          readFileSync(`/proc/${name}/status`, 'utf8'),
        )
      } catch {
        return false // it ended meanwhile
      }
    })
  return [postgres.pid, ...children.map(Number)]
}

function freeze(): void {
  // The main process first, so that it makes no more of them.
  process.kill(postgres.pid, 'SIGSTOP')
  for (const pid of processes()) process.kill(pid, 'SIGSTOP')
}

function thaw(): void {
  for (const pid of processes()) process.kill(pid, 'SIGCONT')
}

const spend = (key: string, amount: number) =>
  world.call<{ id?: string }>(
    'POST',
    '/v1/spends',
    { customer_id, unit: 'minute', amount },
    { 'idempotency-key': `spend-${key}` },
  )
const grant = (key: string, amount: number) =>
  world.call<{ id?: string }>(
    'POST',
    `/v1/customers/${customer_id}/grants`,
    { unit: 'minute', amount, reason: 'frozen' },
    { 'idempotency-key': `grant-${key}` },
  )
const wallet = () => world.call<{ balance: number }>('GET', `/v1/customers/${customer_id}/wallets/minute`)
const ready = () => world.call('GET', '/readyz', undefined, { authorization: '' })

interface Asked {
  name: string
  ms: number
  answer: Answer<{ id?: string; code?: string }>
}
async function timed(name: string, asked: Promise<Answer>): Promise<Asked> {
  const begun = performance.now()
  const answer = await asked
  return { name, ms: performance.now() - begun, answer }
}
const writes = (from: number, to: number): Promise<Asked>[] =>
  Array.from({ length: to - from }, (_, index) => from + index).flatMap((n) => [
    timed(`spend-${n}`, spend(String(n), 1 + (n % 3))),
    timed(`grant-${n}`, grant(String(n), 10)),
  ])

function claimRefused({ name, ms, answer }: Asked): void {
  expect([name, ms < LIMIT_MS], `${name} was answered after ${Math.round(ms)} ms`).toEqual([name, true])
  expect([name, answer.status, answer.body.code]).toEqual([name, 503, 'database_unavailable'])
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
}

describe('a database that is frozen, its sockets open', () => {
  it(
    'F13: has everybody answered 503 in time, works again by itself, and has done each thing once',
    { timeout: 120_000 },
    async () => {
      await world.eventually('it is ready', async () => (await ready()).status === 200)
      expect((await wallet()).body.balance).toBe(START)
      // Under way when it happens: in a transaction, before its commit, or after it without an answer.
      const caught = writes(0, 12)
      await sleep(15)
      freeze()
      const first = [
        ...writes(12, 18),
        timed('wallet', wallet()),
        timed('orders', world.call('GET', '/v1/orders')),
      ]
      // A probe may still have had its answer when the frost came.
      await world.eventually('it is not ready', async () => (await ready()).status === 503, LIMIT_MS)
      const early = await Promise.all(caught)
      for (const asked of early.filter(({ answer }) => answer.status !== 201)) claimRefused(asked)
      for (const asked of await Promise.all(first)) claimRefused(asked)
      // Now it is known, and nobody new waits long.
      for (const asked of await Promise.all([...writes(18, 20), timed('wallet', wallet())]))
        claimRefused(asked)
      expect((await ready()).status).toBe(503)

      thaw()
      await world.eventually('it is ready again', async () => (await ready()).status === 200, 30_000)
      const answers = await Promise.all(writes(0, 20))
      expect(answers.map(({ name, answer }) => [name, answer.status])).toEqual(
        answers.map(({ name }) => [name, 201]),
      )
      const ids = new Map(answers.map(({ name, answer }) => [name, answer.body.id]))
      expect(new Set(ids.values()).size).toBe(40)
      // What was answered before the frost is what is answered now.
      for (const { name, answer } of early.filter((asked) => asked.answer.status === 201)) {
        expect([name, answer.body.id]).toEqual([name, ids.get(name)])
      }
      const spent = Array.from({ length: 20 }, (_, n) => 1 + (n % 3)).reduce((sum, amount) => sum + amount)
      expect((await wallet()).body.balance).toBe(START + 20 * 10 - spent)
      const { rows } = await world.app.db.pool.query<{ kind: string; count: bigint }>(
        'select kind, count(*) from ledger.transfers group by kind order by kind',
      )
      expect(rows).toEqual([
        { kind: 'grant', count: 21n },
        { kind: 'spend', count: 20n },
      ])
      expect((await world.call<{ findings: unknown[] }>('GET', '/v1/verification')).body.findings).toEqual([])
    },
  )
})
