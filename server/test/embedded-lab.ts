import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach } from 'vitest'
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
} from '../src/kernel/embedded-postgres.ts'

const MODULE = new URL('../src/kernel/embedded-postgres.ts', import.meta.url).href

/** Only a power cut would tell the difference; on a busy disk it is a second at each cluster made. */
const FAST = ['fsync=off']

export const NOBODY = { uid: 65_534, gid: 65_534 }
export const is_root = process.getuid?.() === 0
export const has_namespaces = is_root && spawnSync('unshare', ['--user', 'true']).status === 0
/** Another user can run this Node and read these files, so the launcher can be tried as an ordinary user. */
export const may_be_nobody =
  is_root &&
  spawnSync(process.execPath, ['-e', `await import(${JSON.stringify(MODULE)})`], NOBODY).status === 0

/** A server that a process of its own has started, or the refusal that process got. */
export interface StartedElsewhere extends Omit<EmbeddedPostgres, 'stop'> {
  owner: ChildProcess
  error?: { code: string; hint: string }
}

/** Directories, servers and processes of one test file; ended after each test, removed after the last. */
export interface EmbeddedLab {
  /** A cluster the tests of the file use one after another, to save the second that making one takes. */
  common: string
  /** The path of a directory that does not exist yet. */
  newDirectory: (name?: string) => string
  /** Starts a server here. */
  start: (data_directory: string, options?: Partial<EmbeddedPostgresOptions>) => Promise<EmbeddedPostgres>
  /** Starts a server in a new process; SIGTERM stops both, SIGINT does nothing. */
  startElsewhere: (
    options: EmbeddedPostgresOptions,
    ids?: { uid?: number; gid?: number },
  ) => Promise<StartedElsewhere>
  /** Has a process ended after the test. */
  adopt: (child: ChildProcess) => void
  killChildren: () => Promise<void>
}

/** Makes the lab of a test file; to be called at its top. */
export function embeddedLab(): EmbeddedLab {
  const root = realpathSync(mkdtempSync(path.join(tmpdir(), 'kopilka embedded-')))
  chmodSync(root, 0o755)
  const started: EmbeddedPostgres[] = []
  const children: ChildProcess[] = []
  let directories = 0
  const killChildren = async (): Promise<void> => {
    await Promise.all(children.splice(0).map((child) => kill(child)))
  }
  afterEach(async () => {
    await killChildren()
    await Promise.all(started.splice(0).map((server) => server.stop()))
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))
  return {
    common: path.join(root, 'общая папка ünd space'),
    newDirectory: (name = 'data') => path.join(root, `${name}-${++directories}`),
    start: async (data_directory, options = {}) => {
      const server = await startEmbeddedPostgres({ data_directory, flags: FAST, ...options })
      started.push(server)
      return server
    },
    startElsewhere: (options, ids = {}) => startElsewhere(options, ids, children),
    adopt: (child) => children.push(child),
    killChildren,
  }
}

async function startElsewhere(
  options: EmbeddedPostgresOptions,
  ids: { uid?: number; gid?: number },
  children: ChildProcess[],
): Promise<StartedElsewhere> {
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(MODULE)})
    try {
      const server = await startEmbeddedPostgres(${JSON.stringify({ flags: FAST, ...options })})
      process.on('SIGINT', () => {})
      process.on('SIGTERM', () => server.stop().then(() => process.exit(0)))
      console.log(JSON.stringify(server))
      setInterval(() => {}, 60_000)
    } catch (error) {
      console.log(JSON.stringify({ error: { code: error.code, hint: error.hint } }))
    }`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
    ...ids,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  children.push(owner)
  for await (const line of createInterface({ input: owner.stdout })) {
    return { ...(JSON.parse(line) as StartedElsewhere), owner }
  }
  throw new Error('the process ended without an answer')
}

/** Ends a process and waits until it has ended. */
export async function kill(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}

/** The rows of one statement on a connection of its own. */
export async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

/** The process exists and is not merely waiting for its parent to notice its end. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false // no such process
  }
}

/** Waits for a condition; what it is at the end of the limit otherwise. */
export async function until(condition: () => boolean, limit_ms: number): Promise<boolean> {
  const deadline = performance.now() + limit_ms
  while (!condition() && performance.now() < deadline) await sleep(10)
  return condition()
}

/** A port nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
