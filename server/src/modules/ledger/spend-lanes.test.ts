import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import {
  createLedgerKit,
  spend,
  startLedger,
  stopLedger,
  type LedgerKit,
  type NewSpend,
  type Spend,
} from './index.ts'

let books: Books
const opened: LedgerKit[] = []
beforeAll(async () => {
  books = await openBooks()
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map(stopLedger))
})
afterAll(() => books.close())

/** A second process on the same database, as far as the database can tell. */
function another(options: { url?: string; lanes?: number; batch_max?: number } = {}): LedgerKit {
  const db = { ...books.db, url: options.url ?? books.url }
  const kit = createLedgerKit(db, books.clock, { lanes: options.lanes, batch_max: options.batch_max })
  opened.push(kit)
  return kit
}

const use = (
  kit: LedgerKit,
  customer_id: string,
  amount = 1n,
  facts: Partial<NewSpend> = {},
): Promise<Spend> => spend(kit, { customer_id, unit: 'minute', amount, ...keyed(), ...facts })

const killLanes = (): Promise<unknown> =>
  books.run(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'kopilka-spends'`)

test('spends that come together share commits; a lone one has its own', async () => {
  const kit = another()
  await startLedger(kit)
  for (let n = 0; n < 40; n++) await books.give(`cus_group_${n}`, 10n)
  const commits = async (): Promise<number> => {
    const [row] = await books.run(
      `select count(distinct t.xmin::text)::int as n from ledger.transfers t where t.kind = 'spend'`,
    )
    return Number(row?.['n'])
  }
  const before = await commits()
  await use(kit, 'cus_group_0')
  expect(await commits()).toBe(before + 1)
  await Promise.all(Array.from({ length: 200 }, (_, n) => use(kit, `cus_group_${n % 40}`)))
  expect(await commits()).toBeLessThan(before + 20)
})

test.each([1, 2, 4])('two processes with %i lanes each never spend more than there is', async (lanes) => {
  const kits = [another({ lanes, batch_max: 7 }), another({ lanes, batch_max: 7 })]
  const customers = [0, 1, 2, 3, 4].map((n) => `cus_lanes_${lanes}_${n}`)
  for (const customer_id of customers) await books.give(customer_id, 40n)
  const results = await Promise.allSettled(
    Array.from({ length: 400 }, (_, n) => use(kits[n % 2] ?? books, customers[n % 5] ?? '')),
  )
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(200)
  for (const customer_id of customers) expect((await books.wallet(customer_id)).balance).toBe(0n)
})

test('one key in two processes at once is one spend', async () => {
  const kits = [another(), another()]
  await books.give('cus_twins', 1000n)
  for (let round = 0; round < 20; round++) {
    const key = keyed()
    const [one, two] = await Promise.all(kits.map((kit) => use(kit, 'cus_twins', 1n, key)))
    expect(two?.id).toBe(one?.id)
  }
  expect((await books.wallet('cus_twins')).balance).toBe(980n)
})

test('spends whose connection is cut again and again are each done exactly once', async () => {
  const kit = another({ lanes: 2, batch_max: 10 })
  for (let n = 0; n < 10; n++) await books.give(`cus_cut_${n}`, 100n)
  let is_cutting = true
  let done_count = 0
  let cuts = 0
  // Something gets through between two cuts, however slowly this machine connects; others are then under way.
  const cutting = (async () => {
    for (let before = -1; is_cutting; cuts++) {
      await vi.waitUntil(() => done_count > before || !is_cutting, { timeout: 20_000, interval: 1 })
      before = done_count
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10))
      await killLanes()
    }
  })()
  const work = Array.from({ length: 300 }, async (_, n) => {
    const key = keyed()
    for (;;) {
      const done = await use(kit, `cus_cut_${n % 10}`, 1n, key).catch((error: unknown) => error)
      if (!(done instanceof Error)) {
        done_count++
        return done as Spend
      }
      // The lane gave up: what became of it is found under the same key.
      expect(done).toMatchObject({ code: 'database_unavailable', status: 503 })
    }
  })
  const done = await Promise.all(work)
  is_cutting = false
  await cutting
  expect(cuts).toBeGreaterThan(5)
  expect(new Set(done.map(({ id }) => id)).size).toBe(300)
  for (let n = 0; n < 10; n++) expect((await books.wallet(`cus_cut_${n}`)).balance).toBe(70n)
})

test('a commit that is reported with a warning is not called a success; the key finds it later', async () => {
  const kit = another()
  await books.give('cus_warned', 100n)
  await books.run(`create function public.warn() returns trigger language plpgsql as
    $$ begin raise warning 'not replicated'; return null; end $$`)
  await books.run(
    'create trigger warn after insert on ledger.transfers for each statement execute function public.warn()',
  )
  const key = keyed()
  await expect(use(kit, 'cus_warned', 10n, key)).rejects.toMatchObject({
    code: 'commit_unconfirmed',
    status: 503,
  })
  await books.run('drop trigger warn on ledger.transfers')
  expect(await use(kit, 'cus_warned', 10n, key)).toMatchObject({ balance: 90n, is_replay: true })
})

test('one item the database cannot take does not fail the others of its batch', async () => {
  const kit = another()
  await books.give('cus_bad', 100n)
  await books.give('cus_good', 100n)
  // A zero byte is no text to PostgreSQL; the whole statement is refused.
  const results = await Promise.allSettled([
    use(kit, 'cus_good', 1n),
    use(kit, 'cus_bad', 1n, { reason: 'a\0b' }),
    use(kit, 'cus_bad', 2n),
    use(kit, 'cus_good', 3n),
  ])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
  expect((await books.wallet('cus_bad')).balance).toBe(98n)
  expect((await books.wallet('cus_good')).balance).toBe(96n)
})

test('texts arrive as they were sent, whatever is in them', async () => {
  await books.give('cus_texts', 100n)
  const texts = [
    'plain',
    'with "quotes"',
    'back\\slash',
    '{braces,commas}',
    'NULL',
    'ünï ☃',
    'two\nlines',
    "o'clock",
    '',
  ]
  const done = await Promise.all(
    texts.map((reason) =>
      use(books, 'cus_texts', 1n, { reason, reference: `${reason}!`, metadata: { text: reason } }),
    ),
  )
  const rows = await books.run(
    `select reason, reference, metadata from ledger.transfers t join ledger.wallets w on w.id = t.wallet_id
     where w.customer_id = 'cus_texts' and t.kind = 'spend' order by t.sequence`,
  )
  const kept = done
    .map(({ sequence }, index) => ({ sequence, reason: texts[index] }))
    .toSorted((a, b) => Number(a.sequence - b.sequence))
  expect(rows).toEqual(
    kept.map(({ reason }) => ({ reason, reference: `${reason}!`, metadata: { text: reason } })),
  )
})

test('stopping finishes what waits and takes nothing new', async () => {
  const kit = another()
  await books.give('cus_stop', 100n)
  await use(kit, 'cus_stop')
  const waiting = Array.from({ length: 50 }, () => use(kit, 'cus_stop'))
  await Promise.resolve()
  const stopped = stopLedger(kit)
  await stopped
  const results = await Promise.allSettled(waiting)
  expect(results.every(({ status }) => status === 'fulfilled')).toBe(true)
  await expect(use(kit, 'cus_stop')).rejects.toMatchObject({ code: 'overloaded', status: 503 })
  expect((await books.wallet('cus_stop')).balance).toBe(49n)
})

/** A wire to the database that can fall silent without being cut. */
async function openWire(): Promise<{
  url: string
  silence(is_silent: boolean): void
  close(): Promise<void>
}> {
  const target = new URL(books.url)
  const sockets = new Set<Socket>()
  let is_silent = false
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    sockets.add(near).add(far)
    near.on('data', (bytes) => is_silent || far.write(bytes))
    far.on('data', (bytes) => is_silent || near.write(bytes))
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => other.destroy())
      one.on('close', () => is_silent || other.destroy())
    }
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const url = new URL(books.url)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    silence: (next) => {
      is_silent = next
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

test('a silent wire fails the spend for now; once it speaks again the key is done once', async () => {
  const wire = await openWire()
  const kit = another({ url: wire.url })
  await books.give('cus_silent', 100n)
  await use(kit, 'cus_silent')
  wire.silence(true)
  const key = keyed()
  const started = performance.now()
  await expect(use(kit, 'cus_silent', 10n, key)).rejects.toMatchObject({
    code: 'database_unavailable',
    status: 503,
  })
  expect(performance.now() - started).toBeLessThan(15_000)
  wire.silence(false)
  // For a moment whoever waits behind is refused at once; nobody comes back sooner than that.
  await new Promise((resolve) => setTimeout(resolve, 300))
  const done = await use(kit, 'cus_silent', 10n, key)
  expect(done.balance).toBe(89n)
  expect((await books.wallet('cus_silent')).balance).toBe(89n)
  await stopLedger(kit)
  opened.splice(0)
  await wire.close()
})

test('what was done here verifies clean', async () => {
  expect(await books.findings()).toEqual([])
})
