import type { Tx } from './db.ts'

/** One piece of work as its handler sees it. `id` is stable over retries: derive idempotency keys from it. */
export interface Job<Data extends object = object> {
  id: string
  queue: string
  data: Data
  attempt: number
  /** Aborted when the process stops or the lease is lost: stop soon and throw. */
  signal: AbortSignal
}

export interface NewJob {
  data: object
  /** Not before this moment. */
  start_after?: Date
  /**
   * Of jobs with one key, at most one waits for its first attempt: a second enqueue while one waits is a
   * no-op. Up to 200 characters.
   */
  singleton_key?: string
}

export interface QueueOptions {
  /** Attempts in all, the first included; afterwards the job lies in the dead-letter queue. Default 8. */
  attempts_max?: number
  /** A run longer than this is stopped and tried again. Default 60. */
  timeout_seconds?: number
  /** Jobs of this queue that run at once in one process. Default 2. */
  concurrency?: number
}

/** The seam to the job store: modules cannot tell what is behind it. */
export interface JobQueue {
  /** Writes a job in the caller's transaction: it exists if and only if the transaction commits. */
  enqueue(tx: Tx, queue: string, job: NewJob): Promise<void>
  enqueueMany(tx: Tx, queue: string, jobs: readonly NewJob[]): Promise<void>
  /** Names a handler, before or after `start`. A throw is a failed attempt: retried with growing pauses. */
  work<Data extends object>(
    queue: string,
    handler: (job: Job<Data>) => Promise<void>,
    options?: QueueOptions,
  ): Promise<void>
  /**
   * Runs a handler on a cron schedule (UTC unless a zone is given), once per tick over all processes. Called
   * before `start`. Ticks that passed while nobody worked are made up for once.
   */
  schedule(
    name: string,
    cron: string,
    handler: (signal: AbortSignal) => Promise<void>,
    options?: { timezone?: string },
  ): Promise<void>
  /**
   * Runs a handler every `seconds` (≥ 1) in one process at a time, without overlap. For sweepers and
   * janitors.
   */
  every(name: string, seconds: number, handler: (signal: AbortSignal) => Promise<void>): Promise<void>
  /** Jobs that failed for good, newest first. */
  deadLetters(
    limit: number,
  ): Promise<{ id: string; queue: string; data: object; failed_at: Date; error: string }[]>
  /** Puts a dead job back. Answers false when there is none with this id. */
  retryDeadLetter(id: string): Promise<boolean>
  /**
   * Makes tables, queues and schedules ready, when all handlers are named; works on nothing yet. Done by
   * `start` where it was not done before.
   */
  open(options: { worker: boolean }): Promise<void>
  /** Begins to work, in a process that does. Once. */
  start(options: { worker: boolean }): Promise<void>
  /** Waits for running handlers up to `timeout_ms`, gives the rest back to the queue. */
  stop(timeout_ms?: number): Promise<void>
}
