import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await startWorld((same) => ({ ...same, roles: ['worker'], base_url: 'http://127.0.0.1:9' }))
})
afterAll(() => world?.close())

test('a process that answers nobody opens its hot connections when they are needed after all', async () => {
  expect(await hotConnections()).toEqual([])
  const customer = await send('POST', '/v1/customers', { external_id: 'rare' })
  const at = `/v1/customers/${String(customer['id'])}`
  await send('POST', `${at}/grants`, { unit: 'minute', amount: 60, reason: 'a test' })
  const spends = Array.from({ length: 10 }, () =>
    send('POST', '/v1/spends', { customer_id: customer['id'], unit: 'minute', amount: 1 }),
  )
  await Promise.all(spends)
  expect(await hotConnections()).toEqual(['kopilka-spends'])
  expect(await send('GET', `${at}/wallets/minute`)).toMatchObject({ balance: 50 })
  expect(await hotConnections()).toEqual(['kopilka-balances', 'kopilka-spends'])
})

async function hotConnections(): Promise<string[]> {
  const { rows } = await world.app.db.pool.query<{ name: string }>(`
    select application_name as name from pg_stat_activity
    where datname = current_database() and application_name in ('kopilka-spends', 'kopilka-balances')
    order by name`)
  return rows.map(({ name }) => name)
}

async function send(method: 'GET' | 'POST', url: string, payload?: object): Promise<Record<string, unknown>> {
  const headers = {
    authorization: `Bearer ${world.secret_key}`,
    ...(method === 'POST' ? { 'idempotency-key': randomBytes(12).toString('hex') } : {}),
  }
  const answer = await world.app.http.inject({ method, url, headers, ...(payload ? { payload } : {}) })
  expect(answer.statusCode, answer.payload).toBeLessThan(300)
  return answer.json()
}
