import { sql } from 'kysely'
import type pg from 'pg'
import type { Sql, Tx } from './db.ts'

/** Where jobs lie that failed for good. */
export const DEAD_LETTERS = 'dead_letters'

/** One attempt at a job, as the store names it. */
export interface Attempt {
  id: string
  retry_count: number
}

export interface DeadLetter {
  id: string
  queue: string
  data: object
  failed_at: Date
  error: string
}

/** Which of these queues hold a job that is due: one look for all queues of a process. */
export async function findDueQueues(pool: pg.Pool, queues: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>({
    name: 'jobs.findDueQueues',
    text: `
      select q.name from unnest($1::text[]) as q (name)
      where exists (
        select 1 from jobs.job_common j
        where j.name = q.name and j.state < 'active' and not j.blocked and j.start_after <= jobs.job_now())`,
    values: [[...queues]],
  })
  return rows.map((row) => row.name)
}

/**
 * Gives running jobs back: due at once, with no attempt counted. Those that are somebody else's attempt by
 * now are left alone.
 */
export async function releaseJobs(pool: pg.Pool, queue: string, attempts: readonly Attempt[]): Promise<void> {
  await pool.query(
    `update jobs.job_common j
     set state = 'retry', started_on = null, heartbeat_on = null, start_after = jobs.job_now()
     from unnest($2::uuid[], $3::int[]) as a (id, retry_count)
     where j.name = $1 and j.id = a.id and j.retry_count = a.retry_count and j.state = 'active'`,
    [queue, attempts.map((attempt) => attempt.id), attempts.map((attempt) => attempt.retry_count)],
  )
}

/** Newest first. The id is the one the handler saw in every attempt. */
export async function listDeadLetters(db: Sql, limit: number): Promise<DeadLetter[]> {
  const { rows } = await sql<DeadLetter>`
    select coalesce(source_root_id, source_id, id)::text as id, coalesce(source_name, '') as queue,
      coalesce(data, '{}') as data, created_on as failed_at,
      coalesce(source_output ->> 'message', source_output -> 'value' ->> 'message',
        source_output ->> 'value', '') as error
    from jobs.job_common
    where name = ${DEAD_LETTERS} and state < 'active'
    order by created_on desc, id desc
    limit ${limit}`.execute(db)
  return rows
}

/** The store's own id of the dead letter of this job. */
export async function findDeadLetter(
  db: Sql,
  id: string,
): Promise<{ row_id: string; queue: string } | undefined> {
  const { rows } = await sql<{ row_id: string; queue: string }>`
    select id::text as row_id, coalesce(source_name, '') as queue from jobs.job_common
    where name = ${DEAD_LETTERS} and state < 'active'
      and coalesce(source_root_id, source_id, id)::text = ${id}
    order by created_on desc
    limit 1`.execute(db)
  return rows[0]
}

/** Whether the job tables are there at all; they are made by the first start. */
export async function hasJobTables(db: Sql): Promise<boolean> {
  const { rows } = await sql<{ is_there: boolean }>`
    select to_regclass('jobs.job_common') is not null as is_there`.execute(db)
  return rows[0]?.is_there === true
}

/** Makes everything that waits for a later moment due that much earlier: for the sandbox's test clock. */
export async function bringJobsForward(tx: Tx, milliseconds: number): Promise<void> {
  await sql`
    update jobs.job_common set start_after = start_after - ${milliseconds}::float8 * interval '1 millisecond'
    where state < 'active' and start_after > jobs.job_now()`.execute(tx)
}

/** What `doctor` tells about the queue. */
export async function jobCounts(
  db: Sql,
): Promise<{ waiting: bigint; dead: bigint; oldest_due: Date | null }> {
  const { rows } = await sql<{ waiting: bigint; dead: bigint; oldest_due: Date | null }>`
    select count(*) filter (where name <> ${DEAD_LETTERS}) as waiting,
      count(*) filter (where name = ${DEAD_LETTERS}) as dead,
      min(start_after) filter (where name <> ${DEAD_LETTERS} and start_after <= jobs.job_now()) as oldest_due
    from jobs.job_common where state < 'active'`.execute(db)
  return rows[0] ?? { waiting: 0n, dead: 0n, oldest_due: null }
}
