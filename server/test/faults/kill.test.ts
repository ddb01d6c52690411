import { fork, type ChildProcess } from 'node:child_process'
import { createServer } from 'node:net'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type World } from '../world.ts'

/** `KILL_CYCLES=100` for the long run; a few are enough to notice a mistake. */
const CYCLES = Number(process.env['KILL_CYCLES'] ?? 5)
const ORDERS_PER_CYCLE = 2

let world: World
let port: number
beforeAll(async () => {
  world = await startWorld()
  port = await freePort()
})
afterAll(() => world?.close())

describe('a server that is killed again and again', () => {
  it(
    'loses and doubles nothing of spends and payments',
    async () => {
      const customer_id = await world.customer()
      await world.call('POST', `/v1/customers/${customer_id}/grants`, {
        unit: 'minute',
        amount: 1_000_000,
        reason: 'start',
      })
      const orders: Awaited<ReturnType<World['order']>>[] = []
      for (let cycle = 0; cycle < CYCLES; cycle++) {
        const placing = Array.from({ length: ORDERS_PER_CYCLE }, () =>
          world.order({ customer_id, product_key: 'minutes_30' }),
        )
        orders.push(...(await Promise.all(placing)))
      }
      // From here on the world's own server rests: everything goes through the one that is killed.
      const database_url = world.database_url
      const yookassa_url = world.yookassa.base_url
      await world.app.stop()
      const base_url = `http://127.0.0.1:${port}`
      world.yookassa.control.settings({ webhook_url: `${base_url}/webhooks/payments/yookassa` })
      world.yookassa.control.faults({ duplicate: 2 })

      const spending = { is_on: true, done: [] as { id: string; amount: number }[] }
      const spenders = Array.from({ length: 8 }, (_, name) => spender(base_url, customer_id, name, spending))
      let to_pay = orders.map(({ payment }) => payment.external_id)
      for (let cycle = 0; cycle < CYCLES; cycle++) {
        const server = await startServer({ database_url, yookassa_url, port })
        for (const id of to_pay.slice(0, ORDERS_PER_CYCLE)) world.yookassa.control.complete(id, 'succeeded')
        to_pay = to_pay.slice(ORDERS_PER_CYCLE)
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 250))
        await kill(server)
      }
      const server = await startServer({ database_url, yookassa_url, port })
      spending.is_on = false
      await Promise.all(spenders)
      const call = (url: string) =>
        fetch(`${base_url}${url}`, { headers: { authorization: `Bearer ${world.secret_key}` } })
      for (const { payment } of orders) {
        await world.eventually(
          `payment ${payment.id} is granted`,
          async () => {
            const answer = await call(`/v1/payments/${payment.id}`)
            return ((await answer.json()) as { status: string }).status === 'succeeded'
          },
          60_000,
        )
      }
      const spent = spending.done.reduce((sum, { amount }) => sum + amount, 0)
      expect(new Set(spending.done.map(({ id }) => id)).size).toBe(spending.done.length)
      expect(spending.done.length).toBeGreaterThan(0)
      const wallet = (await (await call(`/v1/customers/${customer_id}/wallets/minute`)).json()) as {
        balance: number
      }
      expect(wallet.balance).toBe(1_000_000 + orders.length * 1800 - spent)
      const verification = (await (await call('/v1/verification')).json()) as { findings: unknown[] }
      expect(verification.findings).toEqual([])
      await kill(server)
    },
    60_000 + CYCLES * 10_000,
  )
})

/**
 * Spends one unit after the other; each is asked for under its key until it is answered, however often that
 * takes.
 */
async function spender(
  base_url: string,
  customer_id: string,
  name: number,
  spending: { is_on: boolean; done: { id: string; amount: number }[] },
): Promise<void> {
  for (let n = 0; spending.is_on; n++) {
    const amount = 1 + (n % 3)
    for (let is_done = false; !is_done;) {
      const answer = await fetch(`${base_url}/v1/spends`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${world.secret_key}`,
          'content-type': 'application/json',
          'idempotency-key': `killed-${name}-${n}`,
        },
        body: JSON.stringify({ customer_id, unit: 'minute', amount }),
        signal: AbortSignal.timeout(5_000),
      }).catch(() => undefined)
      if (answer?.status === 201) {
        const { id } = (await answer.json().catch(() => ({}))) as { id?: string }
        if (id === undefined) continue
        spending.done.push({ id, amount })
        is_done = true
      } else await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

async function startServer(order: {
  database_url: string
  yookassa_url: string
  port: number
}): Promise<ChildProcess> {
  const child = fork(path.join(import.meta.dirname, 'server-process.ts'), [JSON.stringify(order)], {
    execArgv: [],
  })
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve())
    child.once('exit', (code) => reject(new Error(`the server ended with ${code} before it was ready`)))
  })
  return child
}

function kill(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.removeAllListeners('exit')
    child.once('exit', () => resolve())
    child.kill('SIGKILL')
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
