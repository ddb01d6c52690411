import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { pageOf, pageQuery, storable, timestamp } from '#http/wire'
import { toPage, type Cursors } from '#kernel/page'
import {
  getReconciliation,
  listDifferences,
  listReconciliations,
  resolveDifference,
  type CountedReconciliation,
  type DifferenceRow,
} from './reconciliation-runs.ts'

const READ = { key: 'payments:read', staff: 'payments:read' } as const
const WRITE = { key: 'payments:write', staff: 'payments:write' } as const

const reconciliation = z
  .object({
    id: z.string(),
    gateway: z.string(),
    from: timestamp,
    to: timestamp,
    status: z.enum(['done', 'failed']),
    method: z
      .enum(['list', 'one_by_one'])
      .nullable()
      .describe('one_by_one: the vendor has no list; what only the vendor knows was not seen.'),
    payments_here: z.int(),
    payments_at_vendor: z.int(),
    refunds_here: z.int(),
    refunds_at_vendor: z.int(),
    differences: z.int(),
    open_differences: z.int(),
    error: z.string().nullable(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Reconciliation' })

const difference = z
  .object({
    id: z.string(),
    gateway: z.string(),
    kind: z.string(),
    subject_id: z.string().nullable().describe('Our payment or refund, where there is one.'),
    external_id: z.string().nullable(),
    ours: z.string(),
    theirs: z.string(),
    proposed: z.string().describe('What a person may do; nothing is done by itself.'),
    status: z.enum(['open', 'resolved']),
    note: z.string().nullable(),
    resolved_by: z.string().nullable(),
    resolved_at: timestamp.nullable(),
    created_at: timestamp,
    last_found_at: timestamp,
  })
  .meta({ id: 'ReconciliationDifference' })

const id = z.object({ id: z.string().max(100) })

/** Adds the routes of stored comparisons with the gateways' books and of what they found. */
export function reconciliationRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/reconciliations',
    who: READ,
    tag: 'payments',
    summary: 'List the comparisons with gateways’ own books, newest first',
    query: pageQuery.extend({ gateway: z.string().max(50).optional() }),
    answer: pageOf(reconciliation),
    read: async ({ query }) => {
      const after = openCursor(kit.cursors, LIST, query.cursor)
      const rows = await listReconciliations(kit.db, query, { limit: query.limit, after })
      return toPage(rows, query.limit, kit.cursors, LIST, position, reconciliationWire)
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/reconciliations/:id',
    who: READ,
    tag: 'payments',
    summary: 'Read a comparison with a gateway’s books',
    params: id,
    answer: reconciliation,
    read: async ({ params }) => reconciliationWire(await getReconciliation(kit.db, params.id)),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/reconciliations/:id/differences',
    who: READ,
    tag: 'payments',
    summary: 'List what a comparison found, newest first',
    params: id,
    query: pageQuery.extend({ status: z.enum(['open', 'resolved']).optional() }),
    answer: pageOf(difference),
    read: async ({ params, query }) => {
      const list = `${LIST}/${params.id}`
      const after = openCursor(kit.cursors, list, query.cursor)
      const filter = { reconciliation_id: params.id, status: query.status }
      const rows = await listDifferences(kit.db, filter, { limit: query.limit, after })
      return toPage(rows, query.limit, kit.cursors, list, position, differenceWire)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/reconciliations/:id/differences/:difference_id/resolve',
    who: WRITE,
    tag: 'payments',
    summary: 'Note how a difference was dealt with',
    description: 'Changes neither money nor units: do that first, by a refund or an adjustment.',
    params: id.extend({ difference_id: z.string().max(100) }),
    body: z.strictObject({ note: storable(1000) }),
    answer: difference,
    errors: { 409: ['invalid_state'] },
    audit: { action: 'reconciliation_difference.resolved' },
    write: async (tx, { params, body, actor }) =>
      differenceWire(
        await resolveDifference(tx, {
          reconciliation_id: params.id,
          id: params.difference_id,
          note: body.note,
          resolved_by: actor.id,
          now: kit.clock.now(),
        }),
      ),
  })
}

const LIST = 'reconciliations'

function openCursor(
  cursors: Cursors,
  list: string,
  cursor: string | undefined,
): { created_at: Date; id: string } | undefined {
  if (cursor === undefined) return undefined
  const [created_at, row_id] = cursors.open(list, cursor)
  return { created_at: new Date(String(created_at)), id: String(row_id) }
}

function position(row: { created_at: Date; id: string }): [string, string] {
  return [row.created_at.toISOString(), row.id]
}

function reconciliationWire({
  from_at,
  to_at,
  status,
  method,
  ...row
}: CountedReconciliation): z.output<typeof reconciliation> {
  return {
    ...row,
    from: from_at,
    to: to_at,
    status: status === 'done' ? 'done' : 'failed',
    method: method === 'list' || method === 'one_by_one' ? method : null,
  }
}

function differenceWire({ status, ...row }: DifferenceRow): z.output<typeof difference> {
  return { ...row, status: status === 'open' ? 'open' : 'resolved' }
}
