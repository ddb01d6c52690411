import { GOOD, MODULES_FOLDER as M, README, repository } from './rules-good.ts'
import type { SourceFile } from './rules-source.ts'

/** A small repository with a mistake in it, and what its rule must say of it: `path:line`. */
export interface Plant {
  files: Record<string, string>
  at: string[]
}

// Put together from parts: the text rules also read this file.
const slash = '/'
const MARK = ['TO', 'DO'].join('')
const SKIP = ['test', 'skip'].join('.')
const ONLY = ['it', 'only'].join('.')
const EMPTY = '{}'
const IGNORE = ['@ts', 'ignore'].join('-')
const TOKEN = ['_auth', 'Token'].join('')

/** One file with a mistake on the given lines. */
const plant = (path: string, text: string, ...lines: number[]): Plant => ({
  files: { [path]: text },
  at: lines.map((line) => `${path}:${line}`),
})

/** One or more planted mistakes for every rule. */
export const PLANTS: Record<string, Plant[]> = {
  door: [
    plant(`${M}/orders/a.ts`, "\nimport { find } from '#modules/ledger/queries'\nfind()\n", 2),
    plant(`${M}/orders/a.ts`, "import { find } from '../ledger/queries.ts'\nfind()\n", 1),
    plant('server/src/app.ts', "const q = await import('./modules/ledger/queries.ts')\nq()\n", 1),
    plant(`${M}/orders/a.ts`, "import { b } from '#modules/orders'\nb()\n", 1),
    plant('bench/a.ts', "import '../server/src/modules/ledger/spend-lanes.ts'\n", 1),
    plant('server/src/app.ts', "type Q = import('./modules/ledger/queries.ts').Q\nexport type R = Q\n", 1),
  ],
  downward: [
    plant(`${M}/ledger/a.ts`, "import { place } from '#modules/orders'\nplace()\n", 1),
    plant(`${M}/ledger/a.ts`, "export type { Order } from '#modules/orders'\n", 1),
    plant(`${M}/ledger/a.test.ts`, "import { place } from '#modules/orders'\nplace()\n", 1),
  ],
  relative: [
    plant(`${M}/orders/a.ts`, "import { now } from '../../kernel/clock.ts'\nnow()\n", 1),
    plant('server/src/http/a.ts', "import { now } from '../kernel/clock.ts'\nnow()\n", 1),
    plant(`${M}/orders/a.ts`, "import { world } from '../../../test/world.ts'\nworld()\n", 1),
  ],
  'kernel-alone': [
    plant('server/src/kernel/a.ts', "import { b } from '#http/wire'\nb()\n", 1),
    plant('server/src/kernel/a.ts', "import { b } from '#config'\nb()\n", 1),
    plant('server/src/kernel/a.ts', "import { b } from '@kopilka/emulators/yookassa'\nb()\n", 1),
  ],
  'http-below': [
    plant('server/src/http/a.ts', "import { b } from '#modules/identity'\nb()\n", 1),
    plant('server/src/http/a.test.ts', "import { b } from '#modules/identity'\nb()\n", 1),
  ],
  'module-below': [
    plant(`${M}/orders/a.ts`, "import { addRoute } from '#http/routing'\naddRoute()\n", 1),
    plant(`${M}/orders/routes.ts`, "import { config } from '#config'\nconfig()\n", 1),
    plant(`${M}/orders/a.ts`, "import { b } from '@kopilka/emulators'\nb()\n", 1),
  ],
  'facade-below': [plant('server/src/facades/a.ts', "import { app } from '../app.ts'\napp()\n", 1)],
  'gateway-alone': [
    plant(`${M}/payments/gateways/a.ts`, "import { q } from '../payment-queries.ts'\nq()\n", 1),
    plant(`${M}/payments/gateways/a.ts`, "import { db } from '#kernel/db'\ndb()\n", 1),
    plant(`${M}/payments/gateways/a/b.ts`, "import { c } from '../c.ts'\nc()\n", 1),
  ],
  outside: [
    plant('extensions/gateways/a.ts', "import { db } from '../../server/src/kernel/db.ts'\ndb()\n", 1),
    plant('extensions/gateways/a.ts', "import { e } from '@kopilka/emulators/emulator'\ne()\n", 1),
    plant('extensions/gateways/a.test.ts', "import { w } from '../../server/test/world.ts'\nw()\n", 1),
    plant('web/admin/src/a.ts', "import { b } from '../../../server/src/app.ts'\nb()\n", 1),
    plant('emulators/a.ts', "import { b } from '@kopilka/extension'\nb()\n", 1),
    plant('server/test/scenarios/a.test.ts', "import { place } from '#modules/orders'\nplace()\n", 1),
  ],
  inward: [plant('tools/a.ts', "import { db } from '../server/src/kernel/db.ts'\ndb()\n", 1)],
  'fastify-place': [
    {
      files: {
        [`${M}/orders/a.ts`]:
          "import type { FastifyInstance } from 'fastify'\nexport type A = FastifyInstance\n",
      },
      at: [`${M}/orders/a.ts:1`],
    },
    plant('server/src/kernel/a.ts', "import cors from '@fastify/cors'\ncors()\n", 1),
  ],
  'sql-place': [
    plant(`${M}/orders/a.ts`, "export const a = (sql) =>\n  sql.selectFrom('orders.orders')\n", 2),
    plant(`${M}/orders/a.ts`, "import { sql as raw } from 'kysely'\nraw\n", 1),
    plant(`${M}/orders/a.ts`, "export const a = (pool) => pool.query('vacuum')\n", 1),
    plant(`${M}/orders/a.ts`, 'export const text = `\n  select id\n  from orders.orders`\n', 1),
    plant('server/src/commands/a.ts', "export const text = 'update orders.orders set total = 0'\n", 1),
    {
      files: {
        [`${M}/ledger/spend-lanes.ts`]:
          "export const a = (c) => c.query('select * from ledger.spend_batch($1)')\n",
      },
      at: [`${M}/ledger/spend-lanes.ts:1`],
    },
  ],
  'own-schema': [
    {
      files: {
        [`${M}/orders/queries.ts`]:
          "export const a = (tx) => tx.insertInto('ledger.transfers')\n" +
          "export const b = (s) => s.selectFrom('ledger.wallets as w')\n",
      },
      at: [`${M}/orders/queries.ts:1`, `${M}/orders/queries.ts:2`],
    },
    plant(
      `${M}/orders/order-queries.ts`,
      'export const a = `\n  update ledger.wallets set balance = 0`\n',
      2,
    ),
    plant(`${M}/ledger/functions/a.sql`, 'select 1;\nselect id from orders.orders;\n', 2),
    {
      files: {
        'server/migrations/0001_ledger.sql':
          'create table ledger.a (id text references orders.orders (id));\n',
      },
      at: ['server/migrations/0001_ledger.sql:1'],
    },
    plant('server/migrations/0001_orders.sql', 'create index a on ledger.transfers (id);\n', 1),
    plant(`${M}/orders/invariant-queries.ts`, 'export const a = `delete from ledger.wallets`\n', 1),
    plant(`${M}/ledger/verify-queries.ts`, 'export const a = `select 1 from orders.orders`\n', 1),
    plant(`${M}/admin/reports/queries.ts`, 'export const a = `insert into orders.orders values (1)`\n', 1),
  ],
  'sql-clock': [
    plant(`${M}/orders/queries.ts`, 'export const a = `select 1 where expires_at < now()`\n', 1),
    plant(`${M}/ledger/functions/a.sql`, 'select clock_timestamp();\n', 1),
    plant(
      'server/migrations/0001_orders.sql',
      '\nalter table orders.a add b timestamptz default now();\n',
      2,
    ),
  ],
  'migration-numbers': [
    plant('server/migrations/0002_kernel.sql', '', 1),
    {
      files: { 'server/migrations/0001_kernel.sql': '', 'server/migrations/0001_ledger.sql': '' },
      at: ['server/migrations/0001_ledger.sql:1'],
    },
    plant('server/migrations/1-kernel.sql', '', 1),
    plant('server/migrations/0001_stuff.sql', '', 1),
  ],
  'network-place': [
    plant(`${M}/orders/a.ts`, "export const a = () =>\n  fetch('http://a.example')\n", 2),
    plant('server/src/kernel/a.ts', "import https from 'node:https'\nhttps.get('a')\n", 1),
    plant(`${M}/payments/a.ts`, "import { callVendor } from '@kopilka/extension'\ncallVendor()\n", 1),
    plant('server/src/http/a.ts', "import { isIP, connect } from 'node:net'\nconnect(isIP)\n", 1),
    plant(`${M}/webchat/a.ts`, "export const a = new WebSocket('ws://a.example')\n", 1),
  ],
  'env-place': [
    plant('server/src/kernel/a.ts', 'export const a = process.env.A\n', 1),
    plant(`${M}/orders/a.ts`, "import { env } from 'node:process'\nenv\n", 1),
  ],
  clock: [
    plant(`${M}/orders/a.ts`, 'export const a = Date.now()\nexport const b = new Date()\n', 1, 2),
    plant('server/src/facades/a.ts', 'export const a = Date()\n', 1),
  ],
  randomness: [plant(`${M}/promotions/a.ts`, 'export const code = Math.random().toString(36)\n', 1)],
  floats: [
    plant(`${M}/orders/a.ts`, 'export const a = (b: bigint) => Number(b) * 2\n', 1),
    plant(`${M}/orders/a.ts`, 'export const a = (b: number) => b * 0.2\n', 1),
    plant(
      `${M}/orders/a.ts`,
      "export const a = parseFloat('1')\nexport const b = (a / 2).toFixed(2)\n",
      1,
      2,
    ),
  ],
  'in-transaction': [
    {
      files: {
        [`${M}/payments/a.ts`]:
          'export const a = (db) =>\n  db.transact(async (tx) => {\n    await callGateway(tx)\n  })\n',
      },
      at: [`${M}/payments/a.ts:3`],
    },
    plant(`${M}/payments/a.ts`, 'export async function a(tx: Tx) {\n  await fetch(tx)\n}\n', 2),
    {
      files: {
        [`${M}/payments/a.ts`]:
          'export const a = (db) => db.transact(async (tx) => {\n  await db.transact(async () => tx)\n})\n',
      },
      at: [`${M}/payments/a.ts:2`],
    },
    {
      files: {
        [`${M}/payments/a.ts`]:
          'export const a = (tx: Tx) => {\n  return new Promise((done) => setTimeout(done, 5))\n}\n',
      },
      at: [`${M}/payments/a.ts:2`],
    },
  ],
  'first-parameter': [
    plant(`${M}/orders/a.ts`, 'export function a(id: string, tx: Tx) {\n  return tx\n}\n', 1),
    plant(`${M}/orders/a.ts`, 'export function a(sql: Sql, db: Db) {\n  return db\n}\n', 1),
  ],
  'file-size': [
    plant(`${M}/orders/a.ts`, 'a()\n'.repeat(401), 400),
    plant(`${M}/orders/a.test.ts`, 'a()\n'.repeat(601), 600),
  ],
  'line-width': [plant('scripts/a.ts', `a()\nb('${'я'.repeat(106)}')\n`, 2)],
  'function-size': [
    plant('scripts/a.ts', `function a() {\n${'  b()\n'.repeat(69)}}\n`, 1),
    plant('scripts/a.ts', `const a = () => {\n${'  b()\n'.repeat(69)}}\n`, 1),
  ],
  erasable: [
    plant('scripts/a.ts', 'enum A {\n  b,\n}\nnamespace C {\n  export const d = 1\n}\n', 1, 4),
    plant('scripts/a.ts', 'class A extends B {\n  constructor(private c: string) {}\n}\n', 2),
    plant('scripts/a.ts', 'class A extends B {\n  @c() d() {}\n}\n', 2),
  ],
  'default-export': [plant(`${M}/orders/a.ts`, 'export default 1\n', 1)],
  classes: [plant(`${M}/orders/a.ts`, 'export class OrderService {\n  place() {}\n}\n', 1)],
  barrel: [
    plant(`${M}/orders/index.ts`, "export * from './orders.ts'\n", 1),
    plant(`${M}/orders/all.ts`, "export { a } from './a.ts'\nexport { b } from './b.ts'\n", 1),
  ],
  any: [
    plant('scripts/a.ts', 'export const a: any = 1\nexport const b = a as any\n', 1, 2),
    plant('scripts/a.ts', `a()\n// ${IGNORE}\nb()\n`, 2),
  ],
  'empty-catch': [plant('scripts/a.ts', `try {\n  a()\n} catch ${EMPTY}\n`, 3)],
  'skipped-test': [
    plant('scripts/a.test.ts', `test('a', () => {})\n${SKIP}('b', () => {})\n${ONLY}('c', () => {})\n`, 2, 3),
  ],
  'snake-case': [
    {
      files: {
        [`${M}/orders/a.ts`]:
          'export interface A {\n  returnUrl: string\n  total_due: bigint\n  paidAt?: Date | null\n}\n',
      },
      at: [`${M}/orders/a.ts:2`, `${M}/orders/a.ts:4`],
    },
    plant(`${M}/orders/schemas.ts`, 'export const a = z.strictObject({\n  returnUrl: z.string(),\n})\n', 2),
  ],
  'module-known': [{ files: { [`${M}/loyalty/a.ts`]: '' }, at: [`${M}/loyalty:1`] }],
  'module-readme': [
    { files: { [`${M}/orders/a.ts`]: '' }, at: [`${M}/orders:1`] },
    plant(`${M}/orders/README.md`, '# Orders\n## Meaning\n## Owns\n', 1),
    plant(`${M}/orders/README.md`, `# Orders\n${README}${'more\n'.repeat(120)}`, 120),
    plant(
      `${M}/orders/README.md`,
      `# Orders\n${README.replace('## Meaning\nOne sentence.\n', '')}## Meaning\n`,
      1,
    ),
  ],
  'module-door': [
    { files: { [`${M}/orders/a.ts`]: '' }, at: [`${M}/orders:1`] },
    plant(`${M}/orders/index.ts`, "export { a } from './a.ts'\nexport const b = 1\n", 2),
    plant(`${M}/orders/index.ts`, "export { b } from '#modules/ledger'\n", 1),
  ],
  docstring: [
    {
      files: {
        [`${M}/orders/index.ts`]: "export { a, b } from './orders.ts'\n",
        [`${M}/orders/orders.ts`]:
          '/** Does a. */\nexport function a() {}\n\n// no docstring\nexport async function b() {}\n',
      },
      at: [`${M}/orders/orders.ts:5`],
    },
  ],
  words: [
    {
      files: {
        'server/migrations/0001_catalog.sql':
          'create table catalog.tariffs (\n  id text,\n  old_tariff text\n);\n',
      },
      at: ['server/migrations/0001_catalog.sql:1', 'server/migrations/0001_catalog.sql:3'],
    },
    plant(`${M}/orders/cart.ts`, 'export const total = 1\n', 1),
    plant(
      `${M}/orders/a.ts`,
      'export function emptyCart() {}\nexport interface A {\n  cart_id: string\n}\n',
      1,
      3,
    ),
  ],
  'left-over-mark': [
    plant(`${M}/orders/a.ts`, `a()\n// ${MARK}: later\n`, 2),
    plant('.ci/run', `# ${MARK} more\n`, 1),
  ],
  'machine-path': [
    plant('docs/a.md', `See\n\`${slash}root${slash}notes\`.\n`, 2),
    plant(
      'docs/a.md',
      `See ${slash}home${slash}somebody${slash}x and shared${slash}design${slash}a.md.\n`,
      1,
      1,
    ),
    plant('a.json', `{"path": "${slash}work${slash}main${slash}a"}\n`, 1),
  ],
  'registry-host': [
    plant('.npmrc', `registry=https:${slash}${slash}registry.example.org${slash}\n`, 1),
    plant('.npmrc', `a=1\n${slash}${slash}host${slash}:${TOKEN}=abcdefgh12345\n`, 2),
    plant('package-lock.json', `{\n"resolved": "https:${slash}${slash}cache.example.org${slash}a.tgz"}\n`, 2),
  ],
}

/** The glossary goes with every plant, because one rule reads it. */
export function planted(plant: Plant): SourceFile[] {
  return repository({ 'docs/glossary.md': GOOD['docs/glossary.md'] ?? '', ...plant.files })
}
