import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import {
  embeddedLab,
  freePort,
  has_namespaces,
  is_root,
  isRunning,
  kill,
  query,
  until,
} from '../../test/embedded-lab.ts'
import { findBinaries } from './embedded-postgres-binaries.ts'
import { lockFile } from './embedded-postgres-lock.ts'
import { startEmbeddedPostgres } from './embedded-postgres.ts'

const lab = embeddedLab()
const { common, start } = lab

describe('a start', () => {
  test('on a fresh directory, whatever its name, makes a database an ordinary role owns', async () => {
    const server = await start(common)
    expect(server.mode).toBe(is_root ? (has_namespaces ? 'userns' : 'setuid') : 'direct')
    const [role] = await query(
      server.url,
      `
      select r.rolsuper, r.rolcreatedb, r.rolcreaterole, d.datdba = r.oid as owns,
        current_database() as database, current_user as name
      from pg_roles r join pg_database d on d.datname = current_database() where r.rolname = current_user`,
    )
    expect(role).toEqual({
      rolsuper: false,
      rolcreatedb: false,
      rolcreaterole: false,
      owns: true,
      database: 'kopilka',
      name: 'kopilka',
    })
    const [boss] = await query(
      server.superuser_url,
      'select rolsuper from pg_roles where rolname = current_user',
    )
    expect(boss).toEqual({ rolsuper: true })
  })

  test('makes commits durable, listens on this machine only and runs in UTC', async () => {
    const server = await start(common, { flags: [] })
    const rows = await query(
      server.superuser_url,
      `select name, setting from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes',
        'data_checksums', 'listen_addresses', 'unix_socket_directories', 'TimeZone', 'server_encoding',
        'wal_compression', 'password_encryption')`,
    )
    expect(Object.fromEntries(rows.map((row) => [row.name, row.setting]))).toEqual({
      fsync: 'on',
      synchronous_commit: 'on',
      full_page_writes: 'on',
      data_checksums: 'on',
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      TimeZone: 'UTC',
      server_encoding: 'UTF8',
      wal_compression: 'pglz',
      password_encryption: 'scram-sha-256',
    })
  })

  test('lets a revoked right be really gone, which a superuser would not notice', async () => {
    const server = await start(common)
    await query(
      server.url,
      'create table if not exists facts (id int); revoke update, delete on facts from kopilka',
    )
    await expect(query(server.url, 'delete from facts')).rejects.toMatchObject({ code: '42501' })
  })

  test('lets nobody in without the password, and keeps both passwords from other users', async () => {
    const server = await start(common)
    const guess = server.url.replace(/:[^:@]+@/, ':guess@')
    await expect(query(guess, 'select 1')).rejects.toMatchObject({ code: '28P01' })
    for (const name of ['superuser.password', 'kopilka.password']) {
      expect(statSync(path.join(common, name)).mode & 0o777).toBe(0o600)
    }
  })

  test('after a stop finds the same data, under the same passwords', async () => {
    const first = await start(common)
    await query(first.url, 'create table kept as select 42 as answer')
    await first.stop()
    await first.stop()
    expect(isRunning(first.pid)).toBe(false)
    const second = await start(common)
    expect(new URL(second.url).password).toBe(new URL(first.url).password)
    expect(await query(second.url, 'select answer from kept')).toEqual([{ answer: 42 }])
  })

  test('creates a further database when asked, and lets tests create databases when asked', async () => {
    const server = await start(common, { database: 'second', may_create_databases: true })
    expect(server.url).toMatch(/\/second$/)
    await query(server.url, 'create database third')
    await query(server.url, 'drop database third')
    await server.stop()
    const strict = await start(common)
    await expect(query(strict.url, 'create database fourth')).rejects.toMatchObject({ code: '42501' })
  })

  test('lets settings given to it win over its own', async () => {
    const server = await start(common, { flags: ['fsync=off', 'max_connections=33'] })
    expect(
      await query(server.url, "select current_setting('fsync') f, current_setting('max_connections') m"),
    ).toEqual([{ f: 'off', m: '33' }])
  })

  test('sets a new password when a password file was lost, and keeps the data', async () => {
    const first = await start(common)
    await query(first.url, 'create table survivors as select 7 as n')
    await first.stop()
    rmSync(path.join(common, 'superuser.password'))
    rmSync(path.join(common, 'kopilka.password'))
    const second = await start(common)
    expect(second.superuser_url).not.toContain(new URL(first.superuser_url).password)
    expect(await query(second.superuser_url, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(await query(second.url, 'select n from survivors')).toEqual([{ n: 7 }])
  })

  test('writes no statement and no data to its log', async () => {
    const server = await start(common)
    await expect(query(server.url, 'select 1 / 0 as secret_of_a_customer')).rejects.toMatchObject({
      code: '22012',
    })
    // A session that is ended is written down, and the statement it was in must not be.
    const ended = query(server.url, 'select pg_sleep(30) as secret_of_a_customer').catch(
      (error: unknown) => error,
    )
    const end = `select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'`
    while ((await query(server.superuser_url, end)).length === 0) await sleep(20)
    expect(await ended).toMatchObject({ code: '57P01' })
    const log = readFileSync(path.join(common, 'postgres.log'), 'utf8')
    expect(log).toContain('terminating connection')
    expect(log).not.toContain('secret_of_a_customer')
  })
})

describe('a server whose owner', () => {
  test('was killed dies with it, and a start at that very moment has every commit', async () => {
    const first = await lab.startElsewhere({ data_directory: common })
    await query(
      first.url,
      'create table committed (n int); insert into committed select generate_series(1, 1000)',
    )
    await kill(first.owner)
    const begin = performance.now()
    const second = await start(common)
    expect(performance.now() - begin).toBeLessThan(4_000)
    expect(second.pid).not.toBe(first.pid)
    expect(isRunning(first.pid)).toBe(false)
    expect(await query(second.url, 'select count(*)::int as n from committed')).toEqual([{ n: 1000 }])
  })

  test('was killed dies even when nobody starts again', async () => {
    const { owner, pid } = await lab.startElsewhere({ data_directory: common })
    expect(isRunning(pid)).toBe(true)
    await kill(owner)
    expect(await until(() => !isRunning(pid), 3_000)).toBe(true)
  })

  test('was asked to end by its terminal runs on until the owner has finished', async () => {
    const { owner, pid, url } = await lab.startElsewhere({ data_directory: common })
    // What a terminal does at Ctrl-C: the signal goes to every process of the group.
    process.kill(-(owner.pid ?? 0), 'SIGINT')
    await sleep(300)
    expect(isRunning(pid)).toBe(true)
    expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }])
    await kill(owner, 'SIGTERM')
    expect(owner.exitCode).toBe(0)
    expect(isRunning(pid)).toBe(false)
  })

  test('is gone while the server was not told is stopped by the next start', async () => {
    const first = await start(common)
    await query(first.url, 'create table before_orphan as select 5 as n')
    await first.stop()
    const orphan = await startOrphan(common)
    const second = await start(common)
    expect(isRunning(orphan)).toBe(false)
    expect(await query(second.url, 'select n from before_orphan')).toEqual([{ n: 5 }])
  })

  test('is told when the server ends by itself, and can start it again', async () => {
    const ends: string[] = []
    const first = await start(common, { on_exit: (log) => ends.push(log) })
    process.kill(first.pid, 'SIGKILL')
    expect(await until(() => ends.length > 0, 3_000)).toBe(true)
    const second = await start(common)
    expect(second.mode).not.toBe('attached')
    await first.stop()
    expect(await query(second.url, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(ends).toHaveLength(1)
  })
})

/** A server nobody owns that holds the server lock, as one does whose owner died before it was tied to it. */
async function startOrphan(directory: string): Promise<number> {
  const cluster = path.join(directory, 'cluster')
  const program = path.join(findBinaries().folder, 'bin/postgres')
  const lock = lockFile(path.join(directory, 'server.lock'))
  if (!lock) throw new Error('the server lock is taken')
  const { uid, gid } = statSync(cluster)
  const args = ['-D', cluster, '-p', String(await freePort()), '-c', 'unix_socket_directories=']
  const ids = is_root && !has_namespaces ? { uid, gid } : {}
  const namespace = ['--user', '--map-user=65534', '--map-group=65534', program]
  const command: [string, string[]] = has_namespaces ? ['unshare', [...namespace, ...args]] : [program, args]
  const child = spawn(...command, { ...ids, stdio: ['ignore', 'ignore', 'ignore', lock.fd], detached: true })
  lock.release()
  lab.adopt(child)
  const file = path.join(cluster, 'postmaster.pid')
  const is_ready = (): boolean => existsSync(file) && readFileSync(file, 'utf8').includes('ready')
  expect(await until(is_ready, 4_000)).toBe(true)
  return child.pid ?? 0
}

describe('several processes on one directory', () => {
  test('share one server: the second attaches and its stop leaves the server alone', async () => {
    const first = await start(common)
    const second = await start(common)
    const third = await lab.startElsewhere({ data_directory: common })
    expect([second.mode, third.mode]).toEqual(['attached', 'attached'])
    expect([second.pid, third.pid]).toEqual([first.pid, first.pid])
    expect([second.url, third.url]).toEqual([first.url, first.url])
    await second.stop()
    await kill(third.owner, 'SIGTERM')
    expect(await query(first.url, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  test('started at once on a fresh directory make one cluster: one owns, the others attach', async () => {
    const data_directory = lab.newDirectory()
    const answers = await Promise.all([1, 2, 3].map(() => lab.startElsewhere({ data_directory })))
    expect(answers.filter((answer) => answer.mode === 'attached')).toHaveLength(2)
    expect(new Set(answers.map((answer) => answer.pid)).size).toBe(1)
    for (const answer of answers) expect(await query(answer.url, 'select 1 as one')).toEqual([{ one: 1 }])
    const log = readFileSync(path.join(data_directory, 'postgres.log'), 'utf8')
    expect(log.match(/running bootstrap script/g)).toHaveLength(1)
  })

  test('give up with a clear refusal when the owner is alive and its server cannot be reached', async () => {
    const first = await start(common)
    const owner = readFileSync(path.join(common, 'owner.pid'), 'utf8')
    const port = await freePort()
    writeFileSync(path.join(common, 'owner.pid'), owner.replace(/\n\d+\n/, `\n${port}\n`))
    await expect(startEmbeddedPostgres({ data_directory: common })).rejects.toMatchObject({
      code: 'owner_unreachable',
      hint: expect.stringContaining('DATABASE_URL') as string,
    })
    expect(await query(first.url, 'select 1 as one')).toEqual([{ one: 1 }])
  })
})
