import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runStatements } from '../../test/database-server.ts'
import { testDatabase, type TestDatabase } from '../../test/db.ts'
import { createDb } from '../kernel/db.ts'
import { allInvariants } from '../modules/admin/index.ts'
import { migrateJobs } from '../kernel/job-queue.ts'
import { loadSecretKeys, secretKeysFile } from '../kernel/secret-keys.ts'
import { loadConfig, type Config } from '../config.ts'
import { doctor, furtherChecks, printFindings, type Finding } from './doctor.ts'
import { examineNode } from './doctor-machine.ts'

let folder: string
let database: TestDatabase

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kopilka-doctor-'))
  database = await testDatabase()
  await migrateJobs(database.url)
})

afterAll(async () => {
  await database.close()
  rmSync(folder, { recursive: true })
})

const configOf = (env: Record<string, string> = {}): Config =>
  loadConfig({ KOPILKA_DATA_DIR: folder, ...env })
const about = (findings: readonly Finding[], subject: string): Finding[] =>
  findings.filter((finding) => finding.subject === subject)

describe('the doctor', () => {
  test('finds a migrated database in order, and says that a test server may lose its books', async () => {
    const findings = await doctor({ config: configOf(), db: database.db, env: {} })
    expect(about(findings, 'schema')).toEqual([expect.objectContaining({ level: 'ok' })])
    expect(about(findings, 'jobs')).toEqual([expect.objectContaining({ level: 'ok' })])
    const texts = about(findings, 'database').map(({ level, detail }) => `${level} ${detail}`)
    expect(texts).toContainEqual(expect.stringMatching(/^ok PostgreSQL \d+.* answers in \d+ ms$/))
    expect(texts).toContainEqual('ok its clock and this machine’s agree')
    const { rows } = await sql<{ fsync: string }>`select current_setting('fsync') as fsync`.execute(
      database.db,
    )
    expect(texts.some((text) => text.startsWith('problem fsync is off'))).toBe(rows[0]?.fsync === 'off')
  })

  test('says in words which gateway an order goes to, and what of that cannot be', async () => {
    const set_up = {
      KOPILKA_GATEWAY_STRIPE_SECRET_KEY: 'sk_test_0123456789abcdef',
      KOPILKA_GATEWAY_SANDBOX_SECRET: 'secret-of-the-sandbox',
    }
    const look = async (env: Record<string, string>): Promise<string[]> => {
      const findings = about(await doctor({ config: configOf(env), env }), 'gateway order')
      return findings.map(({ level, detail }) => `${level} ${detail}`)
    }
    expect(await look({})).toEqual([])
    expect(await look(set_up)).toEqual(['note as they are set up: sandbox, then stripe'])
    expect(await look({ ...set_up, KOPILKA_GATEWAY_ORDER: 'EUR=stripe,paypal' })).toEqual([
      'note EUR: stripe, then paypal',
      'warning paypal is not set up',
      'note sandbox is in no rule: it is used only when an order names it',
    ])
  })

  test('a database that cannot be reached is a finding with advice', async () => {
    const db = createDb({ url: 'postgres://nobody:hunter2@127.0.0.1:1/none' })
    const findings = await doctor({ config: configOf(), db, env: {} })
    expect(about(findings, 'database')).toEqual([
      expect.objectContaining({ level: 'problem', advice: expect.stringContaining('DATABASE_URL') }),
    ])
    expect(JSON.stringify(findings)).not.toContain('hunter2')
    await db.close()
  })

  test('says what is missing in the schema, and what is too new', async () => {
    const other = await testDatabase()
    await runStatements(other.url, [
      'delete from kernel.migrations where number = (select max(number) from kernel.migrations)',
    ])
    const behind = await doctor({ config: configOf(), db: other.db, env: {} })
    expect(about(behind, 'schema')).toEqual([
      expect.objectContaining({ level: 'problem', detail: expect.stringContaining('missing') }),
    ])
    await runStatements(other.url, [
      "insert into kernel.migrations (number, name, digest) values (9000, '9000_later.sql', 'x')",
    ])
    const ahead = await doctor({ config: configOf(), db: other.db, env: {} })
    expect(about(ahead, 'schema')).toEqual([
      expect.objectContaining({ level: 'problem', detail: expect.stringContaining('9000') }),
    ])
    await runStatements(other.url, ['drop schema kernel cascade'])
    const empty = await doctor({ config: configOf(), db: other.db, env: {} })
    expect(about(empty, 'schema')).toEqual([
      expect.objectContaining({ level: 'note', detail: 'the database is empty' }),
    ])
    await other.close()
  })

  test('looks through the books, and says which row breaks what must be true', async () => {
    const other = await testDatabase()
    await migrateJobs(other.url)
    const config = configOf()
    const look = async (): Promise<Finding[]> => {
      const checks = await furtherChecks(config, other.db)
      return about(await doctor({ config, db: other.db, env: {}, checks }), 'books')
    }
    const whole = { level: 'ok', detail: `all ${allInvariants().length} invariants hold` }
    expect(await look()).toEqual([expect.objectContaining(whole)])
    await runStatements(other.url, [
      "insert into ledger.units (code, scale, name, created_at) values ('minute', 1, 'Minute', now())",
      `insert into ledger.wallets (balance, created_at, customer_id, unit)
       values (60, now(), 'cus_by_hand', 'minute')`,
    ])
    const [broken, ...more] = await look()
    expect(more).toEqual([])
    expect(broken).toMatchObject({ level: 'problem', advice: expect.stringContaining('kopilka verify') })
    expect(broken?.detail).toMatch(/^\d+ rows break an invariant, the first: .*wallet/)
    await other.close()
  })

  test('sees dead letters and work that nobody does', async () => {
    await runStatements(database.url, [
      `select jobs.create_queue(name, '{"policy":"standard"}')
       from unnest(array['dead_letters', 'old']) as q (name)`,
      `insert into jobs.job (name, start_after)
       values ('dead_letters', now()), ('old', now() - interval '1 hour')`,
    ])
    const findings = about(await doctor({ config: configOf(), db: database.db, env: {} }), 'jobs')
    expect(findings.map((finding) => finding.level)).toEqual(['warning', 'warning'])
    expect(findings.map((finding) => finding.detail).join()).toMatch(/1 failed for good.*due for 60 minutes/)
    await runStatements(database.url, ['delete from jobs.job'])
  })

  test('sees keys that others may read, a folder that cannot be written, an old Node.js', async () => {
    const data_directory = path.join(folder, 'keys')
    loadSecretKeys({ data_directory })
    chmodSync(secretKeysFile(data_directory), 0o644)
    const loose = await doctor({ config: configOf({ KOPILKA_DATA_DIR: data_directory }), env: {} })
    expect(about(loose, 'secret keys')).toEqual([
      expect.objectContaining({ level: 'problem', advice: expect.stringContaining('chmod 600') }),
    ])
    const file = path.join(folder, 'a-file')
    writeFileSync(file, '')
    const blocked = await doctor({ config: configOf({ KOPILKA_DATA_DIR: path.join(file, 'data') }), env: {} })
    expect(about(blocked, 'data directory')).toEqual([expect.objectContaining({ level: 'problem' })])
    expect(examineNode('22.3.0').level).toBe('problem')
    expect(examineNode('24.21.0').level).toBe('ok')
  })

  test('sees short secrets, misspelt settings and an open live shop, and shows no secret', async () => {
    const env = {
      KOPILKA_MODE: 'live',
      KOPILKA_BASE_URL: 'https://pay.example',
      KOPILKA_PROT: '1',
      ROBOKASSA_MERCHANT_LOGIN: 'demo_shop',
      KOPILKA_GATEWAY_ROBOKASSA_PASSWORD_1: 'hunter2',
      KOPILKA_GATEWAY_YOOKASSA_SECRET_KEY: 'live_hunter2_hunter2_hunter2',
      DATABASE_URL: 'postgres://kopilka:hunter2@db/kopilka',
    }
    const findings = await doctor({ config: configOf(env), env })
    expect(about(findings, 'gateway robokassa')).toEqual([expect.objectContaining({ level: 'problem' })])
    expect(about(findings, 'settings').map((finding) => finding.detail)).toEqual([
      'there is no setting KOPILKA_PROT',
      'ROBOKASSA_MERCHANT_LOGIN is read as KOPILKA_GATEWAY_ROBOKASSA_MERCHANT_LOGIN',
      'buyers may be sent to any https address after paying',
    ])
    const lines: string[] = []
    expect(printFindings(findings, (text) => lines.push(text), env)).toBe(false)
    const text = lines.join('')
    expect(text).not.toContain('hunter2')
    expect(text).toContain('PORT = 8080 (default)')
    expect(text).toContain('KOPILKA_MODE = live\n')
    expect(text).toMatch(/1 problems, 2 warnings, \d+ fine/)
  })

  test('says where limits are counted, and what memory is not good for', async () => {
    const look = async (env: Record<string, string>) =>
      about(await doctor({ config: configOf(env), db: database.db, env }), 'limits')
    expect(await look({})).toEqual([
      expect.objectContaining({ level: 'note', detail: expect.stringContaining('all processes together') }),
    ])
    expect(await look({ KOPILKA_LIMITS: 'memory' })).toEqual([
      expect.objectContaining({ level: 'warning', advice: expect.stringContaining('KOPILKA_REDIS_URL') }),
    ])
    const shared = await look({ KOPILKA_REDIS_URL: 'redis://:hunter2@127.0.0.1:6379' })
    expect(shared).toEqual([
      expect.objectContaining({ level: 'note', detail: expect.stringContaining('Redis') }),
    ])
    expect(JSON.stringify(shared)).not.toContain('hunter2')
  })

  test('a check of a module is asked too; one that throws is a finding about its subject', async () => {
    const findings = await doctor({
      config: configOf(),
      env: {},
      checks: [
        { subject: 'gateway a', look: async () => [{ level: 'ok', subject: 'gateway a', detail: 'well' }] },
        {
          subject: 'gateway b',
          look: async () => {
            throw new Error('refused')
          },
        },
      ],
    })
    expect(about(findings, 'gateway a')).toHaveLength(1)
    expect(about(findings, 'gateway b')).toEqual([
      expect.objectContaining({ level: 'problem', detail: 'refused' }),
    ])
  })
})

describe('as commands', { timeout: 60_000 }, () => {
  const run = (words: string[], env: Record<string, string>) =>
    spawnSync(process.execPath, [path.resolve(import.meta.dirname, '../main.ts'), ...words], {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      encoding: 'utf8',
      timeout: 50_000,
    })

  test('doctor says what it found and ends with a code', () => {
    const env = { KOPILKA_DATA_DIR: folder, DATABASE_URL: database.url }
    const { stdout, status } = run(['doctor'], env)
    expect(stdout).toContain('Settings')
    expect(stdout).toContain('✓ schema: up to date')
    expect(status).toBe(stdout.includes('fsync is off') ? 1 : 0)
    const broken = run(['doctor'], { ...env, PORT: 'abc' })
    expect(broken.status).toBe(1)
    expect(broken.stdout).toContain('PORT: must be a whole number')
  })

  test('migrate brings an empty database to this version, and is done the second time', async () => {
    const other = await testDatabase()
    const schemas = (
      await runStatements(other.url, [
        "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema$|public$)'",
      ])
    ).map((row) => String(row['nspname']))
    await runStatements(
      other.url,
      schemas.map((schema) => `drop schema ${schema} cascade`),
    )
    const env = { KOPILKA_DATA_DIR: folder, DATABASE_URL: other.url }
    const first = run(['migrate'], env)
    expect(first.stderr).toBe('')
    expect(first.stdout).toContain('applied 0001_kernel.sql')
    expect(run(['migrate'], env).stdout).toBe('The database is up to date.\n')
    await runStatements(other.url, ['update kernel.migrations set digest = $$x$$ where number = 1'])
    const refused = run(['migrate'], env)
    expect(refused.status).toBe(1)
    expect(refused.stderr).toContain('was edited after it was applied')
    await other.close()
  })
})
