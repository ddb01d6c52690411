import pg from 'pg'
import type { QueryArrayConfig } from 'pg'
import { pgTypes } from '#kernel/db'
import { OperationalError, sqlState } from '#kernel/errors'

/** The connection broke while a statement was under way: whether it was done is not known. */
export class ConnectionLost extends Error {
  constructor(cause: unknown) {
    super('the connection to the database was lost; whether the statement was done is unknown', { cause })
    this.name = 'ConnectionLost'
  }
}

/** A connection of its own for one kind of hot statements, one at a time. */
export interface LaneConnection {
  /**
   * Rows of a named statement. Throws {@link ConnectionLost}, OperationalError `commit_unconfirmed`, and
   * whatever the database says when it refused the statement (then nothing was done).
   */
  run(query: QueryArrayConfig): Promise<unknown[]>
  readonly is_lost: boolean
  close(): Promise<void>
}

/**
 * A fresh database would otherwise keep plans that fit empty tables and slow down as they fill; the
 * statements here are all nested loops over indexes by design.
 */
const SETTINGS = [
  'timezone=UTC',
  'plan_cache_mode=force_generic_plan',
  'enable_seqscan=off',
  'enable_hashjoin=off',
  'enable_mergejoin=off',
  'enable_bitmapscan=off',
  'jit=off',
]

export interface LaneConnectionOptions {
  url: string
  application_name: string
  /** A statement longer than this is given up by the database. */
  statement_timeout_ms: number
  /** How long a statement waits for a wallet somebody else has locked. */
  lock_timeout_ms: number
}

/** How much longer than the database's own limit an answer is waited for: it covers a slow commit. */
const ANSWER_GRACE_MS = 3_000

/** Connects. Throws what the driver says when the database does not answer within three seconds. */
export async function openLaneConnection(options: LaneConnectionOptions): Promise<LaneConnection> {
  const settings = [
    ...SETTINGS,
    `statement_timeout=${options.statement_timeout_ms}`,
    `lock_timeout=${options.lock_timeout_ms}`,
  ]
  const client = new pg.Client({
    connectionString: options.url,
    application_name: options.application_name,
    connectionTimeoutMillis: 3_000,
    keepAlive: true,
    types: pgTypes,
    options: settings.map((setting) => `-c ${setting}`).join(' '),
  })
  let is_lost = false
  let was_warned = false
  const lose = (): void => {
    is_lost = true
  }
  client.on('error', lose)
  client.on('end', lose)
  // Nothing here warns by itself. PostgreSQL reports a commit that did not reach the standby as a success
  // with a warning (a canceled wait): such a commit may be lost, so it is not a success.
  client.on('notice', (notice) => {
    if (notice.severity === 'WARNING') was_warned = true
  })
  await client.connect()
  const close = async (): Promise<void> => {
    is_lost = true
    await client.end()
  }
  return {
    get is_lost() {
      return is_lost
    },
    run: async (query) => {
      if (is_lost) throw new ConnectionLost(undefined)
      // A silent server or network must not hold the lane for ever.
      const timer = setTimeout(() => void close(), options.statement_timeout_ms + ANSWER_GRACE_MS)
      try {
        const { rows } = await client.query(query)
        if (!was_warned) return rows
        await close()
      } catch (error) {
        if (!isLoss(error)) throw error
        is_lost = true
        throw new ConnectionLost(error)
      } finally {
        clearTimeout(timer)
      }
      throw new OperationalError(
        'commit_unconfirmed',
        'The commit was not confirmed by the standby; ask again under the same key.',
      )
    },
    close,
  }
}

/** 08 and 57P: the server went away. An error of the driver without a state: the socket did. */
function isLoss(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof RangeError) return false
  const state = sqlState(error)
  return state === undefined || /^(08|57P)/.test(state)
}
