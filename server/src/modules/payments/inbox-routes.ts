import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { pageOf, pageQuery, timestamp } from '#http/wire'
import { toPage } from '#kernel/page'
import {
  getInboxEvent,
  INBOX_STATUSES,
  listInboxEvents,
  retryInboxEvent,
  type InboxEventRow,
} from './inbox-review.ts'

const READ = { key: 'payments:read', staff: 'payments:read' } as const
const WRITE = { key: 'payments:write', staff: 'payments:write' } as const

const inboxEvent = z
  .object({
    id: z.string(),
    gateway: z.string(),
    external_event_id: z.string().describe('The notification’s id at the vendor.'),
    type: z.string().describe('The vendor’s name of what it tells.'),
    trust: z.enum(['signed', 'hint']).describe('hint: only where to look; the vendor is asked.'),
    status: z.enum(INBOX_STATUSES).describe('failed: given up after eight days; a person has to look.'),
    outcome: z.string().nullable().describe('What came of it, when it was handled.'),
    error: z.string().nullable().describe('Why it was not handled the last time.'),
    attempts: z.int(),
    repeats: z.int().describe('How often the vendor repeated it, as far as that mattered.'),
    received_at: timestamp,
    opened_at: timestamp.nullable().describe('When a repeat or a person opened it again.'),
    next_attempt_at: timestamp,
    handled_at: timestamp.nullable(),
  })
  .meta({ id: 'InboxEvent' })

const id = z.object({ id: z.string().max(100) })
const LIST = 'inbox_events'

/** Adds the routes of vendors' notifications: to see what became of them, and to try them again. */
export function inboxRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/inbox_events',
    who: READ,
    tag: 'payments',
    summary: 'List notifications of vendors, newest first; those that were given up unless asked otherwise',
    query: pageQuery.extend({
      status: z.enum(INBOX_STATUSES).default('failed'),
      gateway: z.string().max(50).optional(),
    }),
    answer: pageOf(inboxEvent),
    read: async ({ query }) => {
      const list = `${LIST}/${query.status}`
      const opened = query.cursor === undefined ? undefined : kit.cursors.open(list, query.cursor)
      const after = opened && BigInt(String(opened[0]))
      const rows = await listInboxEvents(kit.db, query, { limit: query.limit, after })
      return toPage(rows, query.limit, kit.cursors, list, (row) => [String(row.id)], inboxEventWire)
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/inbox_events/:id',
    who: READ,
    tag: 'payments',
    summary: 'Read what became of a notification',
    params: id,
    answer: inboxEvent,
    read: async ({ params }) => inboxEventWire(await getInboxEvent(kit.db, params.id)),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/inbox_events/:id/retry',
    who: WRITE,
    tag: 'payments',
    summary: 'Handle a notification again, now',
    description: 'Repeating is safe: what was granted or taken back already stays as it is.',
    params: id,
    answer: inboxEvent,
    audit: { action: 'inbox_event.retried' },
    write: async (tx, { params }) => inboxEventWire(await retryInboxEvent(tx, params.id, kit.clock.now())),
  })
}

function inboxEventWire({ id: number, ...row }: InboxEventRow): z.output<typeof inboxEvent> {
  return { id: String(number), ...row }
}
