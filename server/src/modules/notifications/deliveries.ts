import { afterCommit, type Sql, type Tx } from '#kernel/db'
import { InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { wireJson } from '#kernel/json'
import { toPage, type Cursors, type Page } from '#kernel/page'
import * as queries from './delivery-queries.ts'
import type { DeliveryFilter, DeliveryRow, EventRow } from './delivery-queries.ts'
import { getEndpoint, position, readPosition } from './endpoints.ts'
import { findMatchingEndpoints } from './endpoint-queries.ts'
import { webhookEndpointTested } from './events.ts'
import type { NotificationsKit } from './kit.ts'
import { ATTEMPTS, KEPT_MS } from './schedule.ts'

/** A delivery as it is shown: the class of its last result, never what the receiver said. */
export type Delivery = Omit<DeliveryRow, 'endpoint_id' | 'attempts_left'> & { webhook_endpoint_id: string }

/**
 * Writes what endpoints are to be told, in the transaction in which it became true; sends nothing. A reaction
 * to every type of event, on all events of one kind that were published together.
 */
export async function recordWebhookEvents(
  tx: Tx,
  kit: NotificationsKit,
  type: string,
  payloads: readonly unknown[],
): Promise<void> {
  if (payloads.length === 0) return
  const endpoint_ids = await findMatchingEndpoints(tx, type)
  if (endpoint_ids.length > 0) await store(tx, kit, { type, payloads, endpoint_ids, attempts: ATTEMPTS })
}

/**
 * Sends one endpoint a test message, once; whether it arrived is seen at the delivery that is answered.
 * Throws {@link NotFound}, {@link InvalidState} for an endpoint that is disabled.
 */
export async function testEndpoint(tx: Tx, kit: NotificationsKit, id: string): Promise<Delivery> {
  await startedEndpoint(tx, id)
  const [delivery_id = ''] = await store(tx, kit, {
    type: webhookEndpointTested.name,
    payloads: [{ webhook_endpoint_id: id }],
    endpoint_ids: [id],
    attempts: 1,
  })
  return getDelivery(tx, delivery_id)
}

/** Throws {@link NotFound}. */
export async function getDelivery(sql: Sql, id: string): Promise<Delivery> {
  const row = await queries.findDelivery(sql, id)
  if (!row) throw unknown(id)
  return shown(row)
}

/** Deliveries newest first. Throws InvalidRequest for a foreign cursor. */
export async function listDeliveries(
  sql: Sql,
  cursors: Cursors,
  filter: DeliveryFilter,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Delivery>> {
  const list = 'webhook_deliveries'
  const after = page.cursor === undefined ? undefined : readPosition(cursors, list, page.cursor)
  const rows = await queries.listDeliveries(sql, filter, { limit: page.limit, after })
  return toPage(rows, page.limit, cursors, list, position, shown)
}

/**
 * Sends a message again now, under the same webhook-id, with all attempts before it; also one that waits for
 * its next attempt. Throws {@link NotFound}; {@link InvalidState} while it is being sent, or
 * when its endpoint
 * is disabled or deleted.
 */
export async function redeliver(tx: Tx, kit: NotificationsKit, id: string): Promise<Delivery> {
  const row = await queries.lockDelivery(tx, id)
  if (!row) throw unknown(id)
  if (row.status === 'sending') throw new InvalidState('It is being sent just now.')
  if (row.status === 'canceled') throw new InvalidState('Its endpoint was deleted.')
  await startedEndpoint(tx, row.endpoint_id)
  const reopened = await queries.reopenDelivery(tx, id, { attempts_left: ATTEMPTS, now: kit.clock.now() })
  afterCommit(kit.wake)
  return shown(reopened)
}

/** Deletes up to `limit` events of more than thirty days ago, with their deliveries. Answers how many. */
export async function forgetOldEvents(tx: Tx, kit: NotificationsKit, limit: number): Promise<number> {
  return queries.deleteOldEvents(tx, new Date(kit.clock.now_ms() - KEPT_MS), limit)
}

async function store(
  tx: Tx,
  kit: NotificationsKit,
  told: { type: string; payloads: readonly unknown[]; endpoint_ids: readonly string[]; attempts: number },
): Promise<string[]> {
  const now = kit.clock.now()
  const events = told.payloads.map((data): EventRow => {
    const id = newId('evt', now.getTime())
    const body = wireJson({ id, type: told.type, created_at: now, data })
    return { id, type: told.type, body, created_at: now }
  })
  const deliveries = events.flatMap((event) =>
    told.endpoint_ids.map((endpoint_id) => ({
      id: newId('del', now.getTime()),
      event_id: event.id,
      endpoint_id,
      attempts_left: told.attempts,
    })),
  )
  await queries.insertDeliveries(tx, told.type, events, deliveries, now)
  afterCommit(kit.wake)
  return deliveries.map(({ id }) => id)
}

async function startedEndpoint(tx: Tx, id: string): Promise<void> {
  const { disabled_at } = await getEndpoint(tx, id)
  if (disabled_at !== null) throw new InvalidState('The endpoint is disabled; enable it first.')
}

function shown(row: DeliveryRow): Delivery {
  const { endpoint_id, attempts_left: _attempts_left, next_attempt_at, ...rest } = row
  return {
    ...rest,
    webhook_endpoint_id: endpoint_id,
    // The end of a lease is nobody's business.
    next_attempt_at: row.status === 'pending' ? next_attempt_at : null,
  }
}

function unknown(id: string): NotFound {
  return new NotFound(`There is no webhook delivery ${id.slice(0, 60)}.`)
}
