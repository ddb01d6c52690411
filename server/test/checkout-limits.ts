import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import type { World } from './world.ts'

/**
 * Each limit on checkouts of this customer, from this machine, refuses when it alone is full: `buy` answers
 * its status, and has been taken once before.
 */
export async function expectCheckoutLimits(
  world: World,
  customer_id: unknown,
  buy: () => Promise<number>,
): Promise<void> {
  const account = `checkout, account\n${String(customer_id)}`
  for (const cell of ['checkout, network\n127.0.0.1', account, 'checkout, all\n']) {
    const digest = createHash('sha256').update(cell).digest()
    const move = (hours: number) =>
      world.app.db.pool.query(
        `update identity.attempts set full_at = full_at + $2 * interval '1 hour' where key_digest = $1`,
        [digest, hours],
      )
    expect([cell, (await move(2)).rowCount]).toEqual([cell, 1])
    expect([cell, await buy()]).toEqual([cell, 429])
    await move(-2)
  }
}
