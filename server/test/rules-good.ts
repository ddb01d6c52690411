import type { SourceFile } from './rules-source.ts'

export const MODULES_FOLDER = 'server/src/modules'

/** What the README of a module has at least. */
export const README = ['Meaning', 'Owns', 'Does not own', 'Invariants', 'Words', 'Not promised']
  .map((heading) => `## ${heading}\nOne sentence.\n`)
  .join('')

/** Files as the rules take them. */
export function repository(files: Record<string, string>): SourceFile[] {
  return Object.entries(files).map(([path, text]) => ({ path, text }))
}

/** Reads several files out of one text: each begins with a line `=== path`. */
function unpack(text: string): Record<string, string> {
  const parts = text.split(/^=== (.+)\n/m).slice(1)
  const files: Record<string, string> = {}
  for (let i = 0; i < parts.length; i += 2) files[parts[i] ?? ''] = parts[i + 1] ?? ''
  return files
}

/** A repository that follows every rule, with examples of what a careless rule would refuse. */
export const GOOD: Record<string, string> = {
  ...unpack(`
=== README.md
Installed from https://registry.npmjs.org. Ask GET /v1/work/items; the root is "/".
=== docs/glossary.md
# Glossary
## Refused in names
- \`tariff\`: price
- \`cart\`: order
## Other
- \`wallet\`
=== server/migrations/0001_kernel.sql
create table kernel.settings (updated_at timestamptz not null default now());
=== server/migrations/0002_ledger.sql
create table ledger.wallets (
  id text primary key,
  created_at timestamptz not null default now()
);
=== server/migrations/0003_orders.sql
-- now() in a comment is no question
create table orders.orders (wallet_id text references ledger.wallets (id));
=== server/src/config.ts
export const port = process.env.PORT
=== server/src/app.ts
import { fastify } from 'fastify'
import { placeOrder } from '#modules/orders'
fastify({ placeOrder })
=== server/src/kernel/clock.ts
export const now = (): number => Date.now() + Math.random()
=== server/src/kernel/clock.test.ts
import { testDatabase } from '../../test/db.ts'
testDatabase(new Date())
=== server/src/kernel/db.ts
import pg from 'pg'
export const ping = (pool: pg.Pool) => pool.query('select now()')
=== server/src/kernel/errors.ts
export class DomainError extends Error {}
=== server/src/kernel/worker.ts
export class Worker {
  start() {}
  stop() {}
}
export function tidy(work: () => void) {
  try {
    work()
  } catch {
    // Already gone: that is what was wanted.
  }
}
=== server/src/http/server.ts
import { fastify } from 'fastify'
import { isIP } from 'node:net'
import { DomainError } from '#kernel/errors'
export const server = () => fastify({ isIP, DomainError })
=== server/src/http/fastify.d.ts
declare module 'fastify' {
  interface FastifyRequest {
    actor: string
  }
}
=== server/src/commands/doctor-queries.ts
export const skew = 'select clock_timestamp()'
=== server/src/facades/shop.ts
import type { FastifyInstance } from 'fastify'
import { placeOrder } from '#modules/orders'
export const minutes = (seconds: bigint) => Number(seconds) / 60
export const shop = (app: FastifyInstance) => app.post('/buy/', () => placeOrder)
=== server/src/modules/ledger/index.ts
export { findWallet } from './wallets.ts'
export type { Wallet } from './wallets.ts'
export * as ledgerEvents from './events.ts'
=== server/src/modules/ledger/wallets.ts
import type { Sql } from '#kernel/db'
import * as queries from './queries.ts'

export interface Wallet {
  next_expiry: Date
  onChange: () => void
}

/** Answers a wallet. */
export function findWallet(sql: Sql, id: string) {
  return queries.findWallet(sql, id)
}
=== server/src/modules/ledger/burn-order.ts
interface Foreign {
  totalCount: number
}
export const order = (a, b) => Number(a.is_paid) - Number(b.is_paid) + Number(a.end === null)
export const waiting = (pool: Foreign & { idleCount: number }): number => pool.totalCount
=== server/src/modules/ledger/queries.ts
import { sql as raw } from 'kysely'
export const findWallet = (sql, id) => sql.selectFrom('ledger.wallets').where('id', '=', id)
export const touch = (tx) => raw\`update ledger.wallets set seen_at = \${1}\`.execute(tx)
=== server/src/modules/ledger/spend-lanes.ts
import { spend } from './hot-queries.ts'
export const flush = (connection) => connection.query(spend)
=== server/src/modules/ledger/hot-queries.ts
export const spend = { name: 'spend', text: 'select * from ledger.spend_batch($1)' }
=== server/src/modules/ledger/verify-queries.ts
export const text = 'select id from ledger.wallets'
=== server/src/modules/ledger/functions/spend.sql
create or replace function ledger.spend_batch(p_now timestamptz) returns int as $$ select 1 $$;
=== server/src/modules/payments/index.ts
export type { Payment } from './payments.ts'
=== server/src/modules/payments/payments.ts
import type { Db } from '#kernel/db'
import { callGateway } from './gateways.ts'
export type Payment = string
export async function pay(db: Db, now: Date) {
  await db.transact(async (tx) => tx)
  await callGateway(now)
  await db.transact(async (tx) => tx)
}
=== server/src/modules/payments/gateways.ts
export const callGateway = (now: Date) => new Date(now.getTime() + 1000)
=== server/src/modules/payments/gateways/acme.ts
import { callVendor, defineGateway } from '@kopilka/extension'
import { sign } from './acme/sign.ts'
export default defineGateway({ id: 'acme', callVendor, sign })
=== server/src/modules/payments/gateways/acme/sign.ts
export interface Signed {
  returnUrl: string
}
export const sign = (text: string): Signed => ({ returnUrl: text })
=== server/src/modules/orders/index.ts
export { placeOrder } from './orders.ts'
=== server/src/modules/orders/orders.ts
import type { Actor } from '#http/actor'
import { findWallet } from '#modules/ledger'

/** Places an order. Says: select a price from the catalog first. */
export const placeOrder = (actor: Actor) => findWallet(undefined, actor)
=== server/src/modules/orders/routes.ts
import { addRoute } from '#http/routing'
import { placeOrder } from './orders.ts'
addRoute(placeOrder)
=== server/src/modules/orders/invariant-queries.ts
export const text = 'select o.id from orders.orders o join ledger.wallets w on true'
=== server/src/modules/orders/orders.test.ts
import { test } from 'vitest'
import { placeOrder } from './orders.ts'
import { world } from '../../../test/world.ts'
const moment = world(Date.now(), 0.5 * Number('1')) as any
test.skipIf(process.env.CI === undefined)('works', () => placeOrder(moment))
=== server/test/gateway-contract.ts
import acme from '../src/modules/payments/gateways/acme.ts'
export const gateways = [acme]
=== server/test/world.ts
import { placeOrder } from '#modules/orders'
export const world = (..._: number[]) => placeOrder
=== extensions/gateways/mine.ts
import { defineGateway } from '@kopilka/extension'
export default defineGateway({ id: 'mine' })
=== extensions/gateways/mine/emulator.ts
import { startEmulator } from '@kopilka/emulators/emulator'
export const startMine = () => startEmulator()
=== extensions/gateways/mine.test.ts
import { gateways } from '../../server/test/gateway-contract.ts'
import { startMine } from './mine/emulator.ts'
test('keeps the contract', () => expect(startMine(gateways)).toBeDefined())
=== packages/extension/src/http.ts
export const callVendor = (url: string) => fetch(url)
=== packages/extension/src/index.ts
export { callVendor } from './http.ts'
=== emulators/acme.ts
import { createServer } from 'node:http'
export const acme = createServer()
=== bench/main.ts
import { sign } from '../server/src/modules/payments/gateways/acme/sign.ts'
import { findWallet } from '../server/src/modules/ledger/index.ts'
findWallet(process.env.URL, sign)
`),
  [`${MODULES_FOLDER}/ledger/README.md`]: `# Ledger\n${README}`,
  [`${MODULES_FOLDER}/payments/README.md`]: `# Payments\n${README}`,
  [`${MODULES_FOLDER}/orders/README.md`]: `# Orders\n${README}`,
}
