import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startPeerWorld, type PeerWorld } from '../peer-world.ts'
import { SHOP } from '../world-settings.ts'

/** What befell another project when its vendor hung; see docs/security/peer-failures.md. */

let world: PeerWorld
/** A vendor that takes every question and answers none. */
let questions = 0
const silent = createServer(() => void (questions += 1))
beforeAll(async () => {
  world = await startPeerWorld()
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  silent.closeAllConnections()
  silent.close()
  await world?.close()
})

it('B17: two hundred callbacks while the vendor hangs take no connection, and nobody waits', async () => {
  const customer_id = await world.customer()
  const orders = await Promise.all(
    Array.from({ length: 20 }, () => world.order({ customer_id, product_key: 'minutes_30' })),
  )
  const { port } = silent.address() as AddressInfo
  const settings = { ...SHOP, base_url: `http://127.0.0.1:${port}/v3`, extra_ips: ['127.0.0.1'] }
  world.app.payments.gateways.configure('yookassa', settings)
  const started = performance.now()
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) => {
      const id = orders[index % orders.length]?.payment.external_id
      const body = JSON.stringify({ type: 'notification', event: 'payment.succeeded', object: { id } })
      return world.tell('yookassa', body, { 'content-type': 'application/json' })
    }),
  )
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  // YooKassa gives up after a while; a second or two for two hundred is far from that, on any machine.
  expect(performance.now() - started).toBeLessThan(5_000)
  await world.eventually('the vendor is being asked', async () => questions > 0)
  const asked = performance.now()
  for (let time = 0; time < 20; time++) {
    const { rows } = await world.app.db.pool.query<{ open: string }>(
      `select count(*) as open from pg_stat_activity
        where datname = current_database() and state like 'idle in transaction%'
          and state_change < clock_timestamp() - interval '300 milliseconds'`,
    )
    expect(Number(rows[0]?.open)).toBe(0)
    expect(world.app.db.pool.waitingCount).toBe(0)
    expect(await world.balance(customer_id)).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  expect(performance.now() - asked).toBeLessThan(8_000)
})
