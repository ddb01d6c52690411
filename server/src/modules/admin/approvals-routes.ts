import type { FastifyInstance } from 'fastify'
import { addRoute, type RouteKit } from '#http/routing'
import type { OrdersKit } from '#modules/orders'
import * as schemas from './approvals-schemas.ts'
import * as approvals from './approvals.ts'

const tag = 'approvals'
const DECIDE = { staff: 'approvals:write' } as const
const READ = { key: 'admin', staff: 'approvals:write' } as const

/** `/v1/approvals` and `/v1/approval_limits`: what nobody does alone. */
export function approvalRoutes(app: FastifyInstance, kit: RouteKit, orders: OrdersKit): void {
  requestRoutes(app, kit)
  decisionRoutes(app, kit, orders)
  limitRoutes(app, kit)
}

function requestRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/approvals/refunds',
    who: { key: 'refunds:write', staff: 'refunds:write' },
    tag,
    status: 201,
    summary: 'Ask for a refund above the limit',
    body: schemas.newRefundRequest,
    answer: schemas.approval,
    audit: { action: 'approval.requested' },
    write: (tx, { actor, body }) => approvals.requestRefund(tx, clock, actor, body),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/approvals/adjustments',
    who: { key: 'adjustments:write', staff: 'adjustments:write' },
    tag,
    status: 201,
    summary: 'Ask for a correction above the limit',
    body: schemas.newAdjustmentRequest,
    answer: schemas.approval,
    audit: { action: 'approval.requested' },
    write: (tx, { actor, body }) => approvals.requestAdjustment(tx, clock, actor, body),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/approvals',
    who: READ,
    tag,
    summary: 'List what was asked for, newest first',
    query: schemas.approvalQuery,
    answer: schemas.approvalPage,
    read: ({ query: { limit, cursor, ...filter } }) =>
      approvals.listApprovals(db, cursors, filter, { limit, cursor }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/approvals/:id',
    who: READ,
    tag,
    summary: 'Get what was asked for',
    params: schemas.approvalPath,
    answer: schemas.approval,
    read: ({ params }) => approvals.getApproval(db, params.id),
  })
}

function decisionRoutes(app: FastifyInstance, kit: RouteKit, orders: OrdersKit): void {
  const { db, clock } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/approvals/:id/approve',
    who: DECIDE,
    tag,
    summary: 'Agree to what somebody else asked for, and do it',
    description: 'People only. Called again it finishes what was begun.',
    params: schemas.approvalPath,
    body: schemas.decision,
    answer: schemas.approval,
    errors: {
      402: ['insufficient_funds'],
      403: ['missing_scope'],
      409: ['invalid_state', 'refund_too_large'],
    },
    audit: { action: 'approval.carried_out' },
    across: {
      prefix: 'appr',
      work: (_id, { actor, params, body }) =>
        approvals.approve(db, { clock, orders }, actor, { id: params.id, note: body.note }),
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/approvals/:id/reject',
    who: DECIDE,
    tag,
    summary: 'Refuse what somebody else asked for',
    params: schemas.approvalPath,
    body: schemas.decision,
    answer: schemas.approval,
    errors: { 403: ['missing_scope'], 409: ['invalid_state'] },
    audit: { action: 'approval.closed' },
    write: (tx, { actor, params, body }) =>
      approvals.reject(tx, clock, actor, { id: params.id, note: body.note }),
  })
}

function limitRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/approval_limits',
    who: READ,
    tag,
    summary: 'List what one person may do alone',
    answer: schemas.approvalLimits,
    read: async () => ({ items: await approvals.listApprovalLimits(kit.db) }),
  })
  addRoute(app, kit, {
    method: 'PUT',
    url: '/v1/approval_limits/:kind/:measure',
    who: { key: 'admin', staff: 'installation:own' },
    tag,
    summary: 'Set what one person may do alone',
    description: 'For refunds by currency, all refunds of a payment together; for corrections by unit.',
    params: schemas.limitPath,
    body: schemas.limitBody,
    answer: schemas.approvalLimit,
    audit: { action: 'approval_limit.changed', subject: ({ params }) => `${params.kind} ${params.measure}` },
    write: async (tx, { actor, params, body }) => {
      await approvals.setApprovalLimit(tx, kit.clock, { ...params, ...body, actor_id: actor.id })
      return { ...params, ...body }
    },
  })
}
