import { afterAll, beforeAll, expect, test } from 'vitest'
import { startWorld, type World } from '../world.ts'

/** Rows changed in the database by somebody who may. */
interface Told {
  count: number
  findings: { invariant: string; detail: string }[]
}

const logged: Partial<Told>[] = []
let world: World
beforeAll(async () => {
  world = await startWorld((same) => ({
    ...same,
    verify_seconds: 1,
    log: { ...same.log, error: (fields: object) => void logged.push(fields) },
  }))
})
afterAll(() => world?.close())

const ROWS = 50
const run = (text: string) => world.app.db.pool.query(text)
const alarms = async (): Promise<Told[]> => {
  const { rows } = await world.app.db.pool.query<{ body: string }>(
    `select body from notifications.webhook_events where type = 'books.broken' order by created_at, id`,
  )
  return rows.map(({ body }) => (JSON.parse(body) as { data: Told }).data)
}
const details = (told: readonly Told[], invariant: string): string[] =>
  told
    .flatMap(({ findings }) => findings.filter((one) => one.invariant === invariant))
    .map((one) => one.detail)
/** What `/metrics` says of an invariant. */
const figure = async (invariant: string): Promise<string | undefined> => {
  const text = await world.app.http.metrics.text()
  return new RegExp(`^kopilka_findings\\{invariant="${invariant}"\\} (\\d+)$`, 'm').exec(text)?.[1]
}

test('A51: fifty rows of the books and fifty of the log, changed by hand, are told', async () => {
  const url = 'https://shop.example/hook'
  const hook = await world.call('POST', '/v1/webhook_endpoints', { url, event_types: ['books.broken'] })
  expect(hook.status).toBe(201)
  for (let index = 0; index < ROWS; index++) {
    const id = await world.customer()
    const body = { unit: 'minute', amount: 60, reason: 'gift' }
    expect((await world.call('POST', `/v1/customers/${id}/grants`, body)).status).toBe(201)
    const role = { code: `role_${index}`, name: 'x', permissions: [] }
    expect((await world.call('POST', '/v1/roles', role)).status).toBe(201)
  }
  expect(await alarms()).toEqual([])
  // Whoever owns the tables can take their protection away; then only the chains tell.
  for (const table of ['ledger.transfers', 'identity.audit_log']) {
    await run(`grant all on ${table} to current_user`)
    await run(`alter table ${table} disable trigger user`)
  }
  const books = await run(`update ledger.transfers set reason = 'a gift of mine' where reason = 'gift'`)
  const log = await run(
    `update identity.audit_log set actor_id = 'usr_somebody_else' where action = 'role.created'`,
  )
  expect([books.rowCount, log.rowCount]).toEqual([ROWS, ROWS])

  await world.eventually(
    'the alarm',
    async () => details(await alarms(), 'audit_log_is_whole').length >= ROWS,
    60_000,
  )
  const told = await alarms()
  for (const invariant of ['hash_chain_intact', 'audit_log_is_whole']) {
    expect([invariant, new Set(details(told, invariant)).size]).toEqual([invariant, ROWS])
    expect([invariant, await figure(invariant)]).toEqual([invariant, String(ROWS)])
  }

  expect(logged.reduce((sum, { count = 0 }) => sum + count, 0)).toBeGreaterThanOrEqual(2 * ROWS)

  // Mended it is quiet; broken anew it is told anew, and what was told before is not told in between.
  await run(`update ledger.transfers set reason = 'gift' where reason = 'a gift of mine'`)
  await world.eventually('it is mended', async () => (await figure('hash_chain_intact')) === '0', 60_000)
  const { rows } = await world.app.db.pool.query<{ wallet_id: string }>(
    `update ledger.transfers set reason = 'again'
      where wallet_id = (select min(wallet_id) from ledger.transfers where reason = 'gift')
      returning wallet_id`,
  )
  await world.eventually(
    'the second alarm',
    async () => details(await alarms(), 'hash_chain_intact').length > ROWS,
    60_000,
  )
  const [last] = (await alarms()).slice(-1)
  expect(last?.count).toBe(1)
  expect(last?.findings[0]?.detail).toContain(`wallet ${rows[0]?.wallet_id}`)
}, 200_000)
