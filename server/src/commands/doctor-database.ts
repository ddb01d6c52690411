import { asOperational, type Db } from '#kernel/db'
import { hasJobTables, jobCounts } from '#kernel/job-queries'
import { migrationNumbers } from '#kernel/migrate'
import * as queries from './doctor-queries.ts'
import type { Finding } from './doctor.ts'

const VERSION_MIN = 150_000
const SKEW_WARNING_MS = 2_000
const SKEW_PROBLEM_MS = 60_000
/** A pool, the lanes, the queue and the timers of one process, and some to look with. */
const CONNECTIONS_MIN = 25
const WAIT_WARNING_MS = 5 * 60_000

/** Looks at the server, the schema and the queue. A server that does not answer is a finding. */
export async function examineDatabase(db: Db): Promise<Finding[]> {
  try {
    return [...(await examineServer(db)), ...(await examineSchema(db)), ...(await examineJobs(db))]
  } catch (error) {
    const reason = asOperational(error)
    const cause = error instanceof Error ? error.message : String(error)
    return [
      {
        level: 'problem',
        subject: 'database',
        detail: reason === error ? cause : `it does not answer: ${cause}`,
        advice: 'Check DATABASE_URL, and that the server runs and lets this machine in.',
      },
    ]
  }
}

async function examineServer(db: Db): Promise<Finding[]> {
  const started = performance.now()
  const before_ms = Date.now()
  const facts = await queries.readServerFacts(db)
  const taken_ms = performance.now() - started
  const findings: Finding[] = []
  const add = (level: Finding['level'], detail: string, advice?: string): void => {
    findings.push({ level, subject: 'database', detail, ...(advice === undefined ? {} : { advice }) })
  }
  if (facts.version_number < VERSION_MIN)
    add('problem', `PostgreSQL ${facts.version} is too old`, 'Use version 15 or newer.')
  else add('ok', `PostgreSQL ${facts.version} answers in ${Math.ceil(taken_ms)} ms`)
  if (facts.fsync !== 'on') add('problem', 'fsync is off: a power cut destroys the books', 'Set fsync = on.')
  if (facts.full_page_writes !== 'on')
    add('problem', 'full_page_writes is off: a power cut destroys the books', 'Set it on.')
  if (facts.synchronous_commit === 'off') {
    add(
      'problem',
      'synchronous_commit is off: answered payments may be lost in a crash',
      'Set synchronous_commit = on.',
    )
  }
  if (facts.encoding !== 'UTF8')
    add('problem', `its encoding is ${facts.encoding}`, 'Create the database with encoding UTF8.')
  const free = facts.connections_max - facts.connections_used
  if (free < CONNECTIONS_MIN) {
    add(
      'warning',
      `${free} of ${facts.connections_max} connections are free`,
      `Raise max_connections: a process uses up to ${CONNECTIONS_MIN}.`,
    )
  }
  const skew_ms = Math.abs(facts.database_ms - (before_ms + taken_ms / 2)) - taken_ms / 2
  if (skew_ms > SKEW_WARNING_MS) {
    const level = skew_ms > SKEW_PROBLEM_MS ? 'problem' : 'warning'
    add(
      level,
      `its clock and this machine’s are ${Math.round(skew_ms / 1000)} s apart`,
      'Let both follow a time server: signatures of vendors are checked against it.',
    )
  } else {
    add('ok', 'its clock and this machine’s agree')
  }
  return findings
}

async function examineSchema(db: Db): Promise<Finding[]> {
  const applied = await queries.appliedMigrations(db)
  const ours = migrationNumbers()
  const subject = 'schema'
  const advice = 'Run `npm run kopilka -- migrate`; a start does it too.'
  if (!applied) return [{ level: 'note', subject, detail: 'the database is empty', advice }]
  const pending = ours.filter((number) => !applied.includes(number))
  const newer = applied.filter((number) => !ours.includes(number))
  if (newer.length > 0) {
    return [
      {
        level: 'problem',
        subject,
        detail: `it has migrations this version does not know: ${newer.join(', ')}`,
        advice: 'Use the newer version of Kopilka, or restore the backup made before the upgrade.',
      },
    ]
  }
  if (pending.length > 0)
    return [{ level: 'problem', subject, detail: `migrations are missing: ${pending.join(', ')}`, advice }]
  return [{ level: 'ok', subject, detail: `up to date (${applied.length} migrations)` }]
}

async function examineJobs(db: Db): Promise<Finding[]> {
  const subject = 'jobs'
  if (!(await hasJobTables(db))) return [{ level: 'note', subject, detail: 'no process has worked here yet' }]
  const { waiting, dead, oldest_due } = await jobCounts(db)
  const findings: Finding[] = []
  if (dead > 0n) {
    findings.push({
      level: 'warning',
      subject,
      detail: `${dead} failed for good and lie in the dead letters`,
      advice: 'Look at their errors, mend the cause, and put them back.',
    })
  }
  const waited_ms = oldest_due === null ? 0 : Date.now() - oldest_due.getTime()
  if (waited_ms > WAIT_WARNING_MS) {
    findings.push({
      level: 'warning',
      subject,
      detail: `one has been due for ${Math.round(waited_ms / 60_000)} minutes (${waiting} wait)`,
      advice: 'Is a process with the role worker running?',
    })
  }
  return findings.length > 0
    ? findings
    : [{ level: 'ok', subject, detail: `${waiting} wait, none has failed for good` }]
}
