import { setTimeout as sleep } from 'node:timers/promises'
import { isDatabaseUnavailable } from './errors.ts'
import { findDueQueues } from './job-queries.ts'
import { TIMEOUT_SECONDS_DEFAULT, type JobStore, type StoredJob } from './job-store.ts'
import type { Job, QueueOptions } from './jobs.ts'
import type { Log } from './log.ts'

/** How long a job that became due may wait for a look, when nothing in this process woke its queue. */
const POLL_MS = 500
/** A third of the lease: two beats may be lost. */
const HEARTBEAT_MS = 3_000
const CONCURRENCY_DEFAULT = 2
const SETTLE_ATTEMPTS = 5

/** What runs the jobs of one queue. */
export interface QueueHandler {
  queue: string
  handler: (job: Job) => Promise<void>
  options: QueueOptions
}

/** Fetches due jobs and runs them, each queue up to its own number at once. */
export interface JobWorker {
  add(handler: QueueHandler): void
  start(): void
  /** Looks at the queue now; something was put into it. */
  wake(queue: string): void
  /** Fetches no more; waits for what runs; gives back what has not ended in time. */
  stop(timeout_ms: number): Promise<void>
}

interface Lane extends QueueHandler {
  running: Set<Run>
  is_fetching: boolean
  /** There may be more to fetch. */
  is_due: boolean
}

interface Run {
  job: StoredJob
  lane: Lane
  controller: AbortController
  /** The attempt is not ours any more, or was given back: its end is nobody's business. */
  is_over: boolean
  ended: Promise<void>
}

interface State {
  store: JobStore
  log: Log
  lanes: Map<string, Lane>
  is_running: boolean
  is_polling: boolean
  is_beating: boolean
  was_reachable: boolean
}

/** Makes the worker of one process; it does nothing before `start`. */
export function createJobWorker(store: JobStore, log: Log): JobWorker {
  const state: State = {
    store,
    log,
    lanes: new Map(),
    is_running: false,
    is_polling: false,
    is_beating: false,
    was_reachable: true,
  }
  const timers: NodeJS.Timeout[] = []
  return {
    add: (handler) => {
      state.lanes.set(handler.queue, { ...handler, running: new Set(), is_fetching: false, is_due: true })
      wake(state, handler.queue)
    },
    start: () => {
      state.is_running = true
      timers.push(
        setInterval(() => void poll(state), POLL_MS),
        setInterval(() => void beat(state), HEARTBEAT_MS),
      )
      void poll(state)
    },
    wake: (queue) => wake(state, queue),
    stop: async (timeout_ms) => {
      state.is_running = false
      await untilIdle(state, performance.now() + timeout_ms)
      for (const timer of timers.splice(0)) clearInterval(timer)
      for (const lane of state.lanes.values()) await giveBack(store, log, lane)
    },
  }
}

function wake(state: State, queue: string): void {
  const lane = state.lanes.get(queue)
  if (!lane) return
  lane.is_due = true
  if (state.is_running) void pump(state, lane)
}

/** Fetches and starts jobs as long as there may be more and there is room. */
async function pump(state: State, lane: Lane): Promise<void> {
  if (lane.is_fetching) return
  lane.is_fetching = true
  try {
    while (state.is_running && lane.is_due && freeSlots(lane) > 0) {
      const limit = freeSlots(lane)
      // Set before the fetch, so that a wake during it counts.
      lane.is_due = false
      const jobs = await state.store.fetch(lane.queue, limit)
      if (jobs.length === limit) lane.is_due = true
      for (const job of jobs) launch(state, lane, job)
    }
  } catch (error) {
    reportUnreachable(state, error)
  } finally {
    lane.is_fetching = false
  }
}

function launch(state: State, lane: Lane, job: StoredJob): void {
  const controller = new AbortController()
  const run: Run = { job, lane, controller, is_over: false, ended: Promise.resolve() }
  lane.running.add(run)
  run.ended = perform(state.store, state.log, run).finally(() => {
    lane.running.delete(run)
    if (lane.is_due) void pump(state, lane)
  })
}

/** Looks for work that nobody in this process announced: from elsewhere, put off, or to be tried again. */
async function poll(state: State): Promise<void> {
  if (state.is_polling || !state.is_running) return
  state.is_polling = true
  try {
    const hungry = [...state.lanes.values()].filter((lane) => freeSlots(lane) > 0).map((lane) => lane.queue)
    const due = hungry.length === 0 ? [] : await findDueQueues(state.store.pool, hungry)
    if (!state.was_reachable) state.log.info('the job queue is reachable again')
    state.was_reachable = true
    for (const queue of due) wake(state, queue)
  } catch (error) {
    reportUnreachable(state, error)
  } finally {
    state.is_polling = false
  }
}

/** Renews the leases of all that runs. */
async function beat(state: State): Promise<void> {
  if (state.is_beating) return
  state.is_beating = true
  try {
    for (const lane of state.lanes.values()) await beatLane(state.store, lane)
  } catch (error) {
    reportUnreachable(state, error)
  } finally {
    state.is_beating = false
  }
}

/** Once per outage, not twice a second. */
function reportUnreachable(state: State, error: unknown): void {
  if (state.was_reachable)
    state.log.warn({ err: error }, 'the job queue cannot be reached; it is tried on and on')
  state.was_reachable = false
}

async function untilIdle(state: State, deadline: number): Promise<void> {
  const lanes = [...state.lanes.values()]
  // A fetch that is under way may still bring jobs.
  while (lanes.some((lane) => lane.is_fetching) && performance.now() < deadline) await sleep(5)
  const timer = new AbortController()
  const pause_ms = Math.max(0, deadline - performance.now())
  const late = sleep(pause_ms, undefined, { signal: timer.signal }).catch(() => undefined)
  const ended = lanes.flatMap((lane) => [...lane.running].map((run) => run.ended))
  await Promise.race([Promise.all(ended), late])
  timer.abort()
}

function freeSlots(lane: Lane): number {
  return (lane.options.concurrency ?? CONCURRENCY_DEFAULT) - lane.running.size
}

/** One attempt: the handler against its time limit, then the outcome. Never throws. */
async function perform(store: JobStore, log: Log, run: Run): Promise<void> {
  const { job, lane, controller } = run
  const facts = { queue: lane.queue, job_id: stableId(job), attempt: job.retryCount + 1 }
  const seconds = lane.options.timeout_seconds ?? TIMEOUT_SECONDS_DEFAULT
  const timer = setTimeout(
    () => controller.abort(new Error(`the job ran longer than ${seconds} s`)),
    seconds * 1000,
  )
  try {
    await untilAborted(controller.signal, () =>
      lane.handler({
        id: facts.job_id,
        queue: lane.queue,
        data: job.data,
        attempt: facts.attempt,
        signal: controller.signal,
      }),
    )
    await settle(log, run, () => store.complete(lane.queue, job))
  } catch (error) {
    if (run.is_over) return
    const is_last = job.retryCount >= job.retryLimit
    const outcome = is_last
      ? 'a job failed for good and lies in the dead letters'
      : 'a job failed and will be tried again'
    log[is_last ? 'error' : 'warn']({ ...facts, err: error }, outcome)
    await settle(log, run, () => store.fail(lane.queue, job, error))
  } finally {
    clearTimeout(timer)
  }
}

/** The handler's outcome, or the reason of the abort as soon as there is one: a handler may not listen. */
function untilAborted(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void =>
      reject(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)))
    signal.addEventListener('abort', onAbort, { once: true })
    // A handler that throws before its first await must not end the process.
    const working = (async () => work())()
    working.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/**
 * Writes the outcome. While the database is away it is tried again; after that the lease runs out and the job
 * repeats.
 */
async function settle(log: Log, run: Run, write: () => Promise<boolean>): Promise<void> {
  const facts = { queue: run.lane.queue, job_id: stableId(run.job) }
  for (let attempt = 1; !run.is_over; attempt++) {
    try {
      if (!(await write()))
        log.warn(facts, 'a job ended after its lease was lost; it is done again elsewhere')
      return
    } catch (error) {
      if (attempt >= SETTLE_ATTEMPTS || !isDatabaseUnavailable(error)) {
        log.error({ ...facts, err: error }, 'the end of a job could not be written; it will be done again')
        return
      }
      await sleep(attempt * 500)
    }
  }
}

async function beatLane(store: JobStore, lane: Lane): Promise<void> {
  const runs = [...lane.running].filter((run) => !run.is_over)
  if (runs.length === 0) return
  const ours = await store.touch(
    lane.queue,
    runs.map((run) => run.job),
  )
  for (const run of runs) {
    if (ours.has(run.job.id) || !lane.running.has(run)) continue
    run.is_over = true
    run.controller.abort(new Error('the lease of the job was lost'))
  }
}

async function giveBack(store: JobStore, log: Log, lane: Lane): Promise<void> {
  const runs = [...lane.running].filter((run) => !run.is_over)
  if (runs.length === 0) return
  for (const run of runs) {
    run.is_over = true
    run.controller.abort(new Error('the process stops'))
  }
  try {
    await store.release(
      lane.queue,
      runs.map((run) => run.job),
    )
    log.info({ queue: lane.queue, jobs: runs.length }, 'jobs that had not ended were given back')
  } catch (error) {
    log.warn(
      { queue: lane.queue, err: error },
      'jobs could not be given back; they are done again when their lease ends',
    )
  }
}

/** The same for every attempt, also after a dead letter was put back. */
function stableId(job: StoredJob): string {
  return job.sourceRootId ?? job.id
}
