import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Log } from './log.ts'

/** One number for all processes: whoever holds it runs the timers. */
const ADVISORY_LOCK = 7_305_811_420_233_003n
/**
 * How often a process that does not run the timers asks whether it may, and one that does whether it still
 * may.
 */
const ASK_MS = 1_000
const QUERY_TIMEOUT_MS = 5_000
/**
 * How far apart timers begin: all at one moment they would take every connection of the pool from those who
 * are answered, and again each time their periods meet.
 */
const APART_MS = 60
/** A run longer than this many of its own periods, and a minute, is worth a line. */
const SLOW_PERIODS = 10

export interface Timer {
  name: string
  seconds: number
  handler: (signal: AbortSignal) => Promise<void>
}

/**
 * Runs handlers again and again, over all processes in one at a time: the process whose session holds an
 * advisory lock. When it dies, however it dies, the database drops the session and another process takes over
 * within seconds.
 */
export interface JobTimers {
  add(timer: Timer): void
  start(): void
  /** Asks running handlers to stop and waits for them. */
  stop(timeout_ms: number): Promise<void>
}

export function createJobTimers(url: string, log: Log): JobTimers {
  const timers: Timer[] = []
  const stopping = new AbortController()
  let living: Promise<void> | undefined

  const live = async (): Promise<void> => {
    let was_reachable = true
    while (!stopping.signal.aborted) {
      try {
        await holdSession(url, timers, log, stopping.signal)
        was_reachable = true
      } catch (error) {
        if (was_reachable) log.warn({ err: error }, 'the session of the timers was lost; it is opened again')
        was_reachable = false
      }
      await pause(ASK_MS, stopping.signal)
    }
  }
  return {
    add: (timer) => {
      timers.push(timer)
    },
    start: () => {
      if (timers.length > 0) living ??= live()
    },
    stop: async (timeout_ms) => {
      stopping.abort(new Error('the process stops'))
      await Promise.race([living, sleep(timeout_ms, undefined, { ref: false })])
    },
  }
}

/**
 * Lives as long as its connection: waits for the lock, then runs the timers until it stops or the session is
 * lost.
 */
async function holdSession(
  url: string,
  timers: readonly Timer[],
  log: Log,
  stopping: AbortSignal,
): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'kopilka-timers',
    connectionTimeoutMillis: QUERY_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    // A process on a machine that vanished keeps the lock no longer than about ten seconds.
    options: '-c tcp_keepalives_idle=4 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3',
  })
  const lost = new AbortController()
  client.on('error', (error) => lost.abort(error))
  client.on('end', () => lost.abort(new Error('the session ended')))
  const ended = AbortSignal.any([stopping, lost.signal])
  let runs: Promise<unknown> = Promise.resolve()
  try {
    await client.connect()
    while (!ended.aborted) {
      const { rows } = await client.query<{ is_held: boolean }>(
        'select pg_try_advisory_lock($1) as is_held',
        [ADVISORY_LOCK],
      )
      if (rows[0]?.is_held === true) break
      await pause(ASK_MS, ended)
    }
    if (ended.aborted) return
    log.info({ timers: timers.length }, 'this process runs the timers')
    const late = (timer: Timer, index: number): Promise<void> => repeat(timer, index * APART_MS, log, ended)
    runs = Promise.all(timers.map(late))
    while (!ended.aborted) {
      await client.query('select 1')
      await pause(ASK_MS, ended)
    }
    if (lost.signal.aborted) throw lost.signal.reason
  } finally {
    lost.abort(new Error('the session ended'))
    // Nothing of ours may run on while somebody else holds the lock: it is kept until the handlers have
    // ended.
    await runs
    await client
      .end()
      .catch((error: unknown) => log.debug({ err: error }, 'the session of the timers was gone already'))
  }
}

async function repeat(timer: Timer, late_ms: number, log: Log, signal: AbortSignal): Promise<void> {
  await pause(late_ms, signal)
  const slow_ms = Math.max(60_000, SLOW_PERIODS * timer.seconds * 1000)
  while (!signal.aborted) {
    const started = performance.now()
    const slow = setTimeout(
      () => log.warn({ timer: timer.name }, 'a timer has been running for long'),
      slow_ms,
    )
    try {
      await timer.handler(signal)
    } catch (error) {
      if (!signal.aborted)
        log.error({ timer: timer.name, err: error }, 'a timer failed; it runs again at its next time')
    } finally {
      clearTimeout(slow)
    }
    await pause(Math.max(0, timer.seconds * 1000 - (performance.now() - started)), signal)
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal.addEventListener('abort', end)
  })
}
