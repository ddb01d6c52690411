import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { embeddedLab, is_root, may_be_nobody, NOBODY, query, until } from '../../test/embedded-lab.ts'
import { findBinaries } from './embedded-postgres-binaries.ts'
import { systemCode } from './embedded-postgres-error.ts'
import { lockFile } from './embedded-postgres-lock.ts'
import { startEmbeddedPostgres } from './embedded-postgres.ts'

const lab = embeddedLab()
const { common, start } = lab

function isLockFree(file: string): boolean {
  const lock = lockFile(file)
  lock?.release()
  return lock !== undefined
}

describe('what an earlier start left behind', () => {
  test('an owner.pid and a postmaster.pid with a number now in other use are no owner', async () => {
    await (await start(common)).stop()
    const other = spawn('sleep', ['60'], { stdio: 'ignore' })
    lab.adopt(other)
    writeFileSync(path.join(common, 'owner.pid'), `${other.pid}\n5432\n${other.pid}\n`)
    writeFileSync(path.join(common, 'cluster/postmaster.pid'), `${other.pid}\n${common}/cluster\n0\n5432\n`)
    const server = await start(common)
    expect(server.mode).not.toBe('attached')
    expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  test('an initdb that was killed midway is done again', async () => {
    const data_directory = lab.newDirectory()
    const killed = lab.startElsewhere({ data_directory }).catch(() => 'killed')
    const unfinished = path.join(data_directory, 'cluster.unfinished')
    expect(await until(() => existsSync(path.join(unfinished, 'PG_VERSION')), 5_000)).toBe(true)
    await lab.killChildren()
    expect(await killed).toBe('killed')
    // The interrupted initdb tidies up as it ends; then it looks as if it had not got round to that.
    expect(await until(() => isLockFree(path.join(data_directory, 'server.lock')), 20_000)).toBe(true)
    expect(existsSync(path.join(data_directory, 'cluster'))).toBe(false)
    mkdirSync(unfinished, { recursive: true })
    writeFileSync(path.join(unfinished, 'PG_VERSION'), '18\n')
    const server = await start(data_directory)
    expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(readdirSync(data_directory)).not.toContain('cluster.unfinished')
  })

  test('a log that grew over a megabyte is put aside, once', async () => {
    writeFileSync(path.join(common, 'postgres.log'), 'x'.repeat(1_000_001))
    await (await start(common)).stop()
    expect(statSync(path.join(common, 'postgres.log.old')).size).toBe(1_000_001)
    expect(statSync(path.join(common, 'postgres.log')).size).toBeLessThan(10_000)
  })

  test('a finished cluster without a version file, or with another, is not made anew', async () => {
    const data_directory = lab.newDirectory()
    const cluster = path.join(data_directory, 'cluster')
    mkdirSync(cluster, { recursive: true })
    writeFileSync(path.join(cluster, 'precious'), 'data')
    const code = (): Promise<unknown> =>
      startEmbeddedPostgres({ data_directory }).catch((error: unknown) => systemCode(error))
    expect(await code()).toBe('data_directory_unusable')
    writeFileSync(path.join(cluster, 'PG_VERSION'), '17\n')
    expect(await code()).toBe('data_of_another_version')
    expect(readdirSync(cluster).toSorted()).toEqual(['PG_VERSION', 'precious'])
  })
})

describe('a refusal', () => {
  test.skipIf(is_root && !may_be_nobody)(
    'names the directory that cannot be written, and the way out',
    async () => {
      const data_directory = lab.newDirectory()
      mkdirSync(data_directory, { mode: 0o500 })
      const refused = is_root
        ? (await lab.startElsewhere({ data_directory }, NOBODY)).error
        : await startEmbeddedPostgres({ data_directory }).catch((error: unknown) => error)
      expect(refused).toMatchObject({
        code: 'data_directory_unusable',
        hint: expect.stringContaining('DATABASE_URL') as string,
      })
    },
  )

  test('tells when the directory cannot be made, because a file is in the way', async () => {
    const file = lab.newDirectory()
    writeFileSync(file, '')
    await expect(startEmbeddedPostgres({ data_directory: path.join(file, 'data') })).rejects.toMatchObject({
      code: 'data_directory_unusable',
      message: expect.stringContaining(file) as string,
    })
    expect(readFileSync(file, 'utf8')).toBe('')
  })

  test('keeps away from the directory of another PostgreSQL', async () => {
    const data_directory = lab.newDirectory()
    mkdirSync(data_directory)
    writeFileSync(path.join(data_directory, 'PG_VERSION'), '18\n')
    await expect(startEmbeddedPostgres({ data_directory })).rejects.toMatchObject({
      code: 'data_directory_unusable',
    })
    expect(readdirSync(data_directory)).toEqual(['PG_VERSION'])
  })

  test('tells that the port asked for is taken, and the directory can be used afterwards', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    await expect(startEmbeddedPostgres({ data_directory: common, port })).rejects.toMatchObject({
      code: 'port_taken',
      message: expect.stringContaining(String(port)) as string,
    })
    await new Promise((resolve) => server.close(resolve))
    const started_there = await start(common, { port })
    expect(new URL(started_there.url).port).toBe(String(port))
  })

  test('shows what PostgreSQL said when it does not accept a setting, and frees the directory', async () => {
    await expect(
      startEmbeddedPostgres({ data_directory: common, flags: ['shared_buffers=nonsense'] }),
    ).rejects.toMatchObject({
      code: 'start_failed',
      message: expect.stringContaining('shared_buffers') as string,
    })
    expect((await start(common)).mode).not.toBe('attached')
  })

  test.each([
    { database: 'Robert"; drop' },
    { database: 'template1' },
    { port: 0 },
    { port: 70_000 },
    { flags: ['fsync'] },
  ])('meets nonsense in an option before anything is touched: %j', async (options) => {
    const data_directory = lab.newDirectory()
    await expect(startEmbeddedPostgres({ data_directory, ...options })).rejects.toMatchObject({
      code: 'invalid_option',
    })
    expect(existsSync(data_directory)).toBe(false)
  })

  test('names DATABASE_URL where there is no embedded PostgreSQL for the system', () => {
    expect(() => findBinaries('sunos-sparc')).toThrow(
      expect.objectContaining({
        code: 'binaries_missing',
        hint: expect.stringContaining('DATABASE_URL') as string,
      }) as Error,
    )
    const absent = process.platform === 'win32' ? 'darwin-arm64' : 'win32-x64'
    expect(() => findBinaries(absent)).toThrow(expect.objectContaining({ code: 'binaries_missing' }) as Error)
  })
})
