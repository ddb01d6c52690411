import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { openLog, type Layout } from './embedded-postgres-cluster.ts'
import { EmbeddedPostgresError, systemCode } from './embedded-postgres-error.ts'
import { launch, signalServer, type Launcher } from './embedded-postgres-launch.ts'
import { lockFile, readIfThere, type FileLock } from './embedded-postgres-lock.ts'
import { serverArguments } from './embedded-postgres-settings.ts'

const POLL_MS = 10
/** Replaying a gigabyte of log after a crash takes its time on a slow disk; a healthy start takes 0.1 s. */
const START_TIMEOUT_MS = 120_000
/** A server that was told to stop writes out its cache first; after this it is made to stop without. */
const STOP_TIMEOUT_MS = 60_000
const QUIT_TIMEOUT_MS = 20_000
/** A server whose owner was killed is interrupted by the kernel; when it still runs after this, we do it. */
const ORPHAN_PATIENCE_MS = 1_000
const PORT_ATTEMPTS = 5

/** A running server and the log it writes. */
export interface Server {
  child: ChildProcess
  port: number
  readNewLog: () => string
  closeLog: () => void
}

/**
 * Takes the lock every process of a server holds; so no server of this cluster is left when it returns.
 * Waits for the server of an owner that was killed: it ends by itself, and is made to end when it does not.
 * Throws {@link EmbeddedPostgresError} `old_server_running`.
 */
export async function lockServer(layout: Layout, launcher: Launcher): Promise<FileLock> {
  const start = performance.now()
  const steps = [
    { signal: 'SIGINT', after_ms: ORPHAN_PATIENCE_MS } as const,
    { signal: 'SIGQUIT', after_ms: STOP_TIMEOUT_MS } as const,
  ]
  for (;;) {
    const lock = lockFile(layout.server_lock)
    if (lock) {
      // Nobody serves this cluster now, whatever the file says: its number may belong to somebody else by
      // now, and PostgreSQL would refuse to start for that.
      if (process.platform !== 'win32') rmSync(layout.postmaster_pid, { force: true })
      return lock
    }
    const waited_ms = performance.now() - start
    const [step] = steps
    if (step && waited_ms > step.after_ms) {
      const pid = orphanPid(layout)
      if (pid !== undefined) signalServer(launcher, pid, step.signal)
      steps.shift()
    }
    if (waited_ms > STOP_TIMEOUT_MS + QUIT_TIMEOUT_MS) {
      throw new EmbeddedPostgresError(
        'old_server_running',
        `the PostgreSQL of an earlier start still runs in ${layout.cluster}`,
        'Stop the process named in the first line of its postmaster.pid, then start again.',
      )
    }
    await sleep(2 * POLL_MS)
  }
}

/** The process in postmaster.pid, if it works in our cluster; Linux alone tells. */
function orphanPid(layout: Layout): number | undefined {
  const pid = Number(readIfThere(layout.postmaster_pid)?.split('\n', 1)[0])
  if (!Number.isInteger(pid) || pid <= 1 || process.platform !== 'linux') return undefined
  const cluster = statSync(layout.cluster)
  try {
    const at = statSync(`/proc/${pid}/cwd`)
    return at.dev === cluster.dev && at.ino === cluster.ino ? pid : undefined
  } catch {
    return undefined // it has ended, or it is another user's and so not ours
  }
}

/**
 * Starts the server, on the port asked for or else on a free one, and waits until it accepts connections.
 * Throws {@link EmbeddedPostgresError} `port_taken`, `start_failed` or `start_timed_out`; nothing runs then.
 */
export async function startServer(
  launcher: Launcher,
  layout: Layout,
  lock: FileLock,
  options: { port?: number; flags?: readonly string[] },
): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort())
    const in_the_way = options.port === undefined ? undefined : await portObstacle(port)
    if (in_the_way) throw portTaken(port, in_the_way)
    const log = openLog(launcher, layout)
    const args = serverArguments(layout.cluster, port, options.flags ?? [])
    const child = launch(launcher, 'postgres', args, {
      directory: layout.directory,
      log_fd: log.fd,
      lock_fd: lock.fd,
    })
    const server = { child, port, readNewLog: log.readNew, closeLog: () => closeSync(log.fd) }
    const outcome = await waitUntilReady(launcher, layout, child)
    if (outcome === 'ready') return server
    const text = log.readNew()
    server.closeLog()
    if (outcome === 'timed_out') {
      throw new EmbeddedPostgresError(
        'start_timed_out',
        `PostgreSQL was not ready within ${START_TIMEOUT_MS / 1000} s: ${text}`,
        `It may be replaying its log on a slow disk: look into ${layout.log} and start again.`,
      )
    }
    // Somebody else took the port between our look and the server's: another one, if the choice is ours.
    const obstacle = await portObstacle(port)
    if (obstacle && options.port !== undefined) throw portTaken(port, obstacle)
    if (obstacle && attempt < PORT_ATTEMPTS) continue
    throw new EmbeddedPostgresError(
      'start_failed',
      `PostgreSQL ended while starting: ${text}`,
      `Look for the reason in ${layout.log}.`,
    )
  }
}

function portTaken(port: number, reason: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'port_taken',
    `port ${port} cannot be opened on 127.0.0.1 (${reason})`,
    'Stop what listens there, name another port, or name none: a free one is then found.',
  )
}

/** What the server itself says about its state, in the file its own tools read. Ready, or ended on return. */
async function waitUntilReady(
  launcher: Launcher,
  layout: Layout,
  child: ChildProcess,
): Promise<'ready' | 'ended' | 'timed_out'> {
  // A program that could not be started has no pid; the event that says so must be heard by somebody.
  child.once('error', () => undefined)
  const deadline = performance.now() + START_TIMEOUT_MS
  let is_ready = false
  try {
    while (child.pid !== undefined && !hasEnded(child) && performance.now() < deadline) {
      const lines = readIfThere(layout.postmaster_pid)?.split('\n') ?? []
      is_ready = Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready'
      if (is_ready) return 'ready'
      await sleep(POLL_MS)
    }
    return child.pid === undefined || hasEnded(child) ? 'ended' : 'timed_out'
  } finally {
    if (!is_ready) await endServer(launcher, child)
  }
}

/** Whether the process has ended, in whatever way. */
export const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** Asks, then insists. Nothing committed is lost either way: the next start replays the log. */
export async function endServer(launcher: Launcher, child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return
  child.ref()
  const steps = [
    ['SIGINT', STOP_TIMEOUT_MS],
    ['SIGQUIT', QUIT_TIMEOUT_MS],
    ['SIGKILL', QUIT_TIMEOUT_MS],
  ] as const
  for (const [signal, timeout_ms] of steps) {
    if (hasEnded(child)) return
    const ended = once(child, 'exit')
    signalServer(launcher, child.pid, signal)
    const timer = new AbortController()
    await Promise.race([ended, sleep(timeout_ms, undefined, { signal: timer.signal })])
    timer.abort()
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** The code of the error that opening this port gives; `undefined` when it can be opened. */
async function portObstacle(port: number): Promise<string | undefined> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (error) {
    return systemCode(error) ?? 'unknown'
  }
  await new Promise((resolve) => server.close(resolve))
  return undefined
}
