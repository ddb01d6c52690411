import type { Sql, Tx } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import * as queries from './inbox-queries.ts'
import type { InboxEventRow } from './inbox-queries.ts'

export type { InboxEventRow, InboxStatus } from './inbox-queries.ts'
export { countFailedEvents, INBOX_STATUSES, listInboxEvents } from './inbox-queries.ts'

/** A big number of the database; more digits than that name nothing. */
const ID = /^[1-9]\d{0,17}$/

/** Throws {@link NotFound}. */
export async function getInboxEvent(sql: Sql, id: string): Promise<InboxEventRow> {
  const event = ID.test(id) ? await queries.findInboxEvent(sql, BigInt(id)) : undefined
  if (!event) throw new NotFound(`There is no notification ${id}.`)
  return event
}

/**
 * Has a notification handled again at once, with all its attempts before it. Safe for one that was handled: a
 * repeat changes nothing that stands. One that is being handled now is left to that. Throws {@link NotFound}.
 */
export async function retryInboxEvent(tx: Tx, id: string, now: Date): Promise<InboxEventRow> {
  const { id: known } = await getInboxEvent(tx, id)
  await queries.reopenEvents(tx, [known], now)
  return getInboxEvent(tx, id)
}

/** As {@link retryInboxEvent} for up to `limit` that failed, the oldest first; answers how many. */
export async function retryFailedEvents(
  tx: Tx,
  now: Date,
  which: { gateway?: string | undefined; limit: number },
): Promise<number> {
  const ids = await queries.lockFailedEvents(tx, which)
  await queries.reopenEvents(tx, ids, now)
  return ids.length
}
