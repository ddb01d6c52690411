import { parseArgs } from 'node:util'
import { databaseClock } from '#kernel/clock'
import { createDb, type Db } from '#kernel/db'
import { listInboxEvents, retryFailedEvents, retryInboxEvent, type InboxEventRow } from '#modules/payments'
import { boot } from './boot.ts'

const USAGE = `inbox list [--gateway ID]          notifications of vendors that were given up, newest first
inbox retry ID …                   has these handled again, now
inbox retry --all [--gateway ID]   has all of them handled again
`
const SHOWN_MAX = 200
/** In one transaction; more of them take several. */
const BATCH = 500

/** What the words ask for; undefined for words that make no sense. */
type Asked = { verb: 'list' | 'retry_all'; gateway: string | undefined } | { verb: 'retry'; ids: string[] }

/** Shows the notifications that were given up and has them tried again, by the server's worker. */
export async function inboxCommand(words: string[]): Promise<void> {
  const asked = readWords(words)
  if (!asked) {
    process.stderr.write(USAGE)
    process.exitCode = 2
    return
  }
  const { database } = await boot()
  const db = createDb({ url: database.url, max: 2 })
  try {
    process.stdout.write(await carryOut(db, asked))
  } finally {
    await db.close()
    await database.stop()
  }
}

function readWords(words: string[]): Asked | undefined {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: { all: { type: 'boolean', default: false }, gateway: { type: 'string' } },
  })
  const [verb, ...ids] = positionals
  const { all, gateway } = values
  if (verb === 'list' && ids.length === 0 && !all) return { verb, gateway }
  if (verb !== 'retry') return undefined
  if (all) return ids.length === 0 ? { verb: 'retry_all', gateway } : undefined
  return ids.length > 0 && gateway === undefined ? { verb, ids } : undefined
}

async function carryOut(db: Db, asked: Asked): Promise<string> {
  const now = databaseClock().now()
  if (asked.verb === 'retry') {
    const { ids } = asked
    // All of them or none: a slip in one number is seen before anything is done.
    await db.transact(async (tx) => {
      for (const id of ids) await retryInboxEvent(tx, id, now)
    })
    return `${ids.length} will be handled again by the server.\n`
  }
  const { gateway } = asked
  if (asked.verb === 'retry_all') {
    let count = 0
    for (let more = BATCH; more === BATCH; count += more)
      more = await db.transact((tx) => retryFailedEvents(tx, now, { gateway, limit: BATCH }))
    return `${count} will be handled again by the server.\n`
  }
  const rows = await listInboxEvents(db, { status: 'failed', gateway }, { limit: SHOWN_MAX })
  const shown = rows.slice(0, SHOWN_MAX).map(line).join('')
  const rest = rows.length > SHOWN_MAX ? `There are more than ${SHOWN_MAX}.\n` : ''
  return shown === '' ? 'No notification was given up.\n' : shown + rest
}

function line({ id, gateway, type, received_at, error }: InboxEventRow): string {
  return `${id}  ${gateway}  ${type}  ${received_at.toISOString()}\n  ${error ?? 'no reason was kept'}\n`
}
