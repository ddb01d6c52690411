import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { toPage } from '#kernel/page'
import { resolveCustomer } from '#modules/customers'
import type { PaymentsKit } from './kit.ts'
import { listReceipts } from './receipt-queries.ts'
import { recordReceipt, retryReceipt } from './receipt-review.ts'
import * as schemas from './receipt-schemas.ts'
import { getReceipt } from './receipts.ts'

const id = z.object({ id: z.string().max(100) })
const READ = { key: 'payments:read', staff: 'payments:read' } as const
const WRITE = { key: 'payments:write', staff: 'payments:write' } as const

/** Adds the routes of fiscal receipts. */
export function receiptRoutes(app: FastifyInstance, kit: RouteKit, payments: PaymentsKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/receipts',
    who: READ,
    tag: 'payments',
    summary: 'List fiscal receipts, newest first',
    query: schemas.receiptFilter,
    answer: schemas.receiptPage,
    read: async ({ query }) => {
      const customer =
        query.customer_id === undefined ? undefined : await resolveCustomer(kit.db, query.customer_id)
      const opened = query.cursor === undefined ? undefined : kit.cursors.open('receipts', query.cursor)
      const after = opened && { created_at: new Date(String(opened[0])), id: String(opened[1]) }
      const filter = { ...query, customer_id: customer?.id }
      const rows = await listReceipts(kit.db, filter, { limit: query.limit, after })
      return toPage(
        rows,
        query.limit,
        kit.cursors,
        'receipts',
        (row) => [row.created_at.toISOString(), row.id],
        schemas.receiptWire,
      )
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/receipts/:id',
    who: READ,
    tag: 'payments',
    summary: 'Read a fiscal receipt',
    params: id,
    answer: schemas.receipt,
    read: async ({ params }) => schemas.receiptWire(await getReceipt(kit.db, params.id)),
  })
  reviewRoutes(app, kit, payments)
}

function reviewRoutes(app: FastifyInstance, kit: RouteKit, payments: PaymentsKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/receipts/:id/retry',
    who: WRITE,
    tag: 'payments',
    summary: 'Send a receipt again, or look for it now',
    params: id,
    answer: schemas.receipt,
    errors: { 409: ['invalid_state'] },
    audit: { action: 'receipt.retried' },
    write: async (tx, { params }) => schemas.receiptWire(await retryReceipt(tx, payments, params.id)),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/receipts/:id/record',
    who: WRITE,
    tag: 'payments',
    summary: 'Record that a person registered a receipt by hand',
    params: id,
    body: schemas.recordBody,
    answer: schemas.receipt,
    errors: { 409: ['invalid_state'] },
    audit: { action: 'receipt.recorded' },
    write: async (tx, { params, body }) => {
      const { fiscal_document: document, fiscal_storage: storage, fiscal_attribute: attribute } = body
      const fiscal = { document, storage, attribute }
      return schemas.receiptWire(await recordReceipt(tx, payments, params.id, fiscal))
    },
  })
}
