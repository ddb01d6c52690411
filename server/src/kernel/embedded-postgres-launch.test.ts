import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import {
  embeddedLab,
  has_namespaces,
  is_root,
  isRunning,
  kill,
  may_be_nobody,
  NOBODY,
  query,
  until,
} from '../../test/embedded-lab.ts'
import { findBinaries } from './embedded-postgres-binaries.ts'
import { chooseLauncher, stopWithUs } from './embedded-postgres-launch.ts'
import { startEmbeddedPostgres } from './embedded-postgres.ts'

const lab = embeddedLab()
const { common, start } = lab
/** Every Linux has a user of this number, and no user of that one. */
const DAEMON = { uid: 1, gid: 1 }
const NAMELESS = { uid: 54_321, gid: 54_321 }
const may_be_nameless = may_be_nobody && spawnSync('unshare', ['--user', 'true'], NAMELESS).status === 0

describe('the user the server runs as', () => {
  test.skipIf(!is_root)('is nobody, who gets the directory, when root has no user namespaces', async () => {
    const data_directory = lab.newDirectory()
    const server = await start(data_directory, { force_mode: 'setuid' })
    expect(server.mode).toBe('setuid')
    expect(readFileSync(`/proc/${server.pid}/status`, 'utf8')).toMatch(/^Uid:\t65534\t65534/m)
    expect(statSync(data_directory).uid).toBe(NOBODY.uid)
    await server.stop()
    const again = await lab.startElsewhere({ data_directory, force_mode: 'setuid' })
    expect(again.mode).toBe('setuid')
    await kill(again.owner)
    expect(await until(() => !isRunning(again.pid), 3_000)).toBe(true)
  })

  test.skipIf(!has_namespaces)(
    'changes without loss when root comes to a machine without user namespaces',
    async () => {
      await (await start(common)).stop()
      expect(statSync(path.join(common, 'cluster')).uid).toBe(0)
      const server = await start(common, { force_mode: 'setuid' })
      expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }])
      await server.stop()
      // From now on the directory is nobody's, so root becomes nobody without being told.
      expect((await start(common)).mode).toBe('setuid')
    },
  )

  test.skipIf(!is_root)(
    'cannot reach a directory below one that is closed to it: refused, and left as it was',
    async () => {
      const closed = lab.newDirectory('closed')
      mkdirSync(closed, { mode: 0o700 })
      const data_directory = path.join(closed, 'data')
      await expect(startEmbeddedPostgres({ data_directory, force_mode: 'setuid' })).rejects.toMatchObject({
        code: 'data_directory_unusable',
        hint: expect.stringContaining('65534') as string,
      })
      expect(statSync(data_directory).uid).toBe(0)
    },
  )

  test.skipIf(!may_be_nobody)('is the ordinary user who started it', async () => {
    const data_directory = lab.newDirectory()
    mkdirSync(data_directory, { mode: 0o700 })
    chownSync(data_directory, DAEMON.uid, DAEMON.gid)
    const first = await lab.startElsewhere({ data_directory }, DAEMON)
    expect(first.mode).toBe('direct')
    await query(first.url, 'create table mine as select 1 as n')
    await kill(first.owner)
    expect(await until(() => !isRunning(first.pid), 3_000)).toBe(true)
    // Root, coming later, works as the user whose directory it is, and spoils nothing for him.
    const second = await start(data_directory)
    expect(second.mode).toBe('setuid')
    await second.stop()
    const third = await lab.startElsewhere({ data_directory }, DAEMON)
    expect(third.mode).toBe('direct')
    expect(await query(third.url, 'select n from mine')).toEqual([{ n: 1 }])
  })

  test.skipIf(!may_be_nameless)(
    'may be a number without a name, where there are user namespaces',
    async () => {
      const data_directory = lab.newDirectory()
      mkdirSync(data_directory, { mode: 0o700 })
      chownSync(data_directory, NAMELESS.uid, NAMELESS.gid)
      const first = await lab.startElsewhere({ data_directory }, NAMELESS)
      expect(first.mode).toBe('userns')
      await query(first.url, 'create table mine as select 1 as n')
      await kill(first.owner)
      const second = await start(data_directory)
      expect(second.mode).toBe('setuid')
      expect(await query(second.url, 'select n from mine')).toEqual([{ n: 1 }])
    },
  )
})

describe('the programs', () => {
  test('are copied below the data directory, once, when their package cannot be completed', () => {
    const data_directory = lab.newDirectory()
    mkdirSync(data_directory)
    mkdirSync(path.join(data_directory, 'binaries-1.0.0'))
    const binaries = { ...findBinaries(), is_complete: false }
    const { folder } = chooseLauncher(binaries, data_directory).binaries
    expect(readdirSync(data_directory)).toEqual([`binaries-${binaries.version}`])
    expect(folder).toBe(path.join(data_directory, `binaries-${binaries.version}`, 'native'))
    const program = path.join(folder, 'bin/postgres')
    expect(spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout).toContain(
      `PostgreSQL) ${binaries.major}`,
    )
    const made_at = statSync(program).ctimeMs
    expect(chooseLauncher(binaries, data_directory).binaries.folder).toBe(folder)
    expect(statSync(program).ctimeMs).toBe(made_at)
  })

  test.skipIf(!is_root)('are copied when the user they run as cannot reach the package', () => {
    const closed = lab.newDirectory('closed')
    mkdirSync(closed, { mode: 0o700 })
    const binaries = findBinaries()
    const folder = path.join(closed, 'native')
    cpSync(binaries.folder, folder, { recursive: true, verbatimSymlinks: true })
    const data_directory = lab.newDirectory()
    mkdirSync(data_directory, { mode: 0o700 })
    const launcher = chooseLauncher({ ...binaries, folder }, data_directory, 'setuid')
    expect(launcher.binaries.folder.startsWith(data_directory)).toBe(true)
    expect(statSync(path.join(launcher.binaries.folder, 'bin/initdb')).uid).toBe(NOBODY.uid)
  })
})

describe('where the kernel cannot tie the server to its owner', () => {
  test('a shell interrupts it when the owner is killed, and can be called off', async () => {
    const launch = new URL('./embedded-postgres-launch.ts', import.meta.url).href
    const script = `
      const { stopWithUs } = await import(${JSON.stringify(launch)})
      const { spawn } = await import('node:child_process')
      const child = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' })
      stopWithUs(child.pid)
      console.log(child.pid)
      setInterval(() => {}, 60_000)`
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    lab.adopt(owner)
    const [text] = (await once(owner.stdout, 'data')) as [Buffer]
    const pid = Number(text.toString())
    expect(isRunning(pid)).toBe(true)
    await kill(owner)
    expect(await until(() => !isRunning(pid), 3_000)).toBe(true)

    const spared = spawn('sleep', ['60'], { stdio: 'ignore' })
    lab.adopt(spared)
    const callOff = stopWithUs(spared.pid ?? 0)
    callOff()
    await sleep(200)
    expect(isRunning(spared.pid ?? 0)).toBe(true)
  })
})
