import type { PostgresPool, PostgresPoolClient } from 'kysely'
import pg from 'pg'
import { OperationalError, sqlState } from './errors.ts'

/** A statement that is not answered for this long is a reason to ask whether the database lives at all. */
const ASK_AFTER_MS = 3_000
/** How long it may take to say so: it is only greeted and asked nothing that needs a disk or a lock. */
const ANSWER_MS = 3_000
/** Asked twice before it is believed lost: a machine that stood still for a moment is none that hangs. */
const ASKED = 2
/** How often one that hangs is asked again. */
const ASK_AGAIN_MS = 500

/**
 * Makes a pool safe against a database that hangs: one that is frozen, or whose wire is cut, keeps its
 * sockets open and answers nothing, and no limit of its own ends a statement then.
 *
 * No statement has a limit here, for verifications and reports may take minutes. One that is not answered
 * for three seconds has the database asked, over another connection; as long as that is answered, it may
 * take its time. When it is not, the statement's connection is destroyed and never used again. Whether the
 * statement, or the commit it was, is done is then unknown: OperationalError `database_unavailable`, and the
 * same idempotency key finds out. While the database is known to hang, what asks for a connection is refused
 * at once.
 */
export function withPulse(pool: pg.Pool, url: string): PostgresPool {
  const pulse = createPulse(url)
  const watched = new WeakMap<pg.PoolClient, PostgresPoolClient>()
  return {
    options: pool.options,
    connect: async () => {
      if (pulse.is_lost()) throw unanswered('nothing was done')
      const client = await pool.connect()
      const known = watched.get(client) ?? watch(client, pulse)
      watched.set(client, known)
      return known
    },
    end: async () => {
      pulse.stop()
      await pool.end()
    },
  }
}

interface Pulse {
  /** Asks now, or joins who asks already. */
  ask(): Promise<boolean>
  /** It did not answer when it was asked last. */
  is_lost(): boolean
  stop(): void
}

function createPulse(url: string): Pulse {
  let asking: Promise<boolean> | undefined
  let is_lost = false
  let is_stopped = false
  const ask = (): Promise<boolean> => {
    asking ??= doesAnswer(url, is_lost ? 1 : ASKED).then((is_alive) => {
      asking = undefined
      is_lost = !is_alive
      if (is_lost && !is_stopped) setTimeout(() => void ask(), ASK_AGAIN_MS).unref()
      return is_alive
    })
    return asking
  }
  return {
    ask,
    is_lost: () => is_lost,
    stop: () => {
      is_stopped = true
    },
  }
}

async function doesAnswer(url: string, times: number): Promise<boolean> {
  return (await isGreeted(url)) || (times > 1 && doesAnswer(url, times - 1))
}

/** A refusal in the database's own words is an answer too. */
async function isGreeted(url: string): Promise<boolean> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'kopilka-pulse',
    connectionTimeoutMillis: ANSWER_MS,
    query_timeout: ANSWER_MS,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch (error) {
    return sqlState(error) !== undefined
  } finally {
    void client.end()
  }
}

/** The same connection, whose statements do not wait for a database that hangs. */
function watch(client: pg.PoolClient, pulse: Pulse): PostgresPoolClient {
  let is_cut = false
  const query = async (text: string, values: readonly unknown[] = []): Promise<pg.QueryResult> => {
    // After a statement that was cut a rollback is tried, too; its answer would never come.
    if (is_cut) throw unanswered('whether it was done is unknown')
    let is_over = false
    let timer = setTimeout(() => void look(), ASK_AFTER_MS)
    const look = async (): Promise<void> => {
      const is_alive = await pulse.ask()
      if (is_over) return
      if (is_alive) {
        timer = setTimeout(() => void look(), ASK_AFTER_MS)
        return
      }
      is_cut = true
      // With a statement under way the socket is destroyed, and the statement fails.
      await client.end()
    }
    try {
      return await client.query(statementOf(text, values))
    } catch (error) {
      if (is_cut) throw unanswered('whether it was done is unknown', error)
      throw error
    } finally {
      is_over = true
      clearTimeout(timer)
    }
  }
  return {
    query: query as unknown as PostgresPoolClient['query'],
    release: (destroy) => client.release(is_cut || destroy === true),
  }
}

const NAME = /^\s*\/\* ([\w.]{1,60}) \*\//

/**
 * A statement that begins with a name in a comment is prepared under it, once in each connection: planning
 * costs more than running many a short one. For statements of one text only, whose plan does not hang on how
 * large their tables were when it was made.
 */
function statementOf(text: string, values: readonly unknown[]): pg.QueryConfig {
  const name = NAME.exec(text)?.[1]
  return name === undefined ? { text, values: [...values] } : { name, text, values: [...values] }
}

function unanswered(what: string, cause?: unknown): OperationalError {
  const detail = `The database does not answer now; ${what}. Ask again under the same key.`
  return new OperationalError('database_unavailable', detail, { cause, retry_after_seconds: 2 })
}
