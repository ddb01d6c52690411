import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { customerKey } from '#http/wire'
import { extendForCustomers, mergeCustomer, resolveCustomer } from '#modules/customers'
import type { BenefitKit } from '#modules/identity'
import { adjust } from './adjustments.ts'
import { transferUnits } from './customer-transfers.ts'
import { captureHold, getHold, placeHold, releaseHold } from './holds.ts'
import { mergeWallets } from './merge.ts'
import * as schemas from './movement-schemas.ts'
import { reverseSpend } from './reversals.ts'
import { listTransfers } from './transfers.ts'

const customer = z.object({ id: customerKey })
const id = z.object({ id: z.string().max(100) })
const HOLD = { key: 'holds:write' } as const

/** Adds the routes of holds, reversals, adjustments, gifts, merges and the history. */
export function movementRoutes(app: FastifyInstance, kit: RouteKit, benefits: BenefitKit): void {
  holdRoutes(app, kit)
  correctionRoutes(app, kit)
  betweenCustomersRoutes(app, kit, benefits)
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers/:id/transfers',
    who: { key: 'wallets:read', staff: 'wallets:read' },
    tag: 'wallets',
    summary: 'Every movement of a customer’s units, newest first',
    params: customer,
    query: schemas.transferFilter,
    answer: schemas.transferPage,
    read: async ({ params, query }) => {
      const owner = await resolveCustomer(kit.db, params.id)
      const filter = { customer_id: owner.id, unit: query.unit }
      const page = await listTransfers(kit.db, kit.cursors, filter, query)
      return { ...page, items: page.items.map(schemas.transferWire) }
    },
  })
}

function holdRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/holds',
    who: HOLD,
    tag: 'holds',
    status: 201,
    summary: 'Set units aside for work whose outcome is not known yet',
    body: schemas.newHold,
    answer: schemas.hold,
    errors: { 402: ['insufficient_funds'] },
    write: async (tx, { body, actor, idempotency_key }) => {
      const owner = await resolveCustomer(tx, body.customer_id)
      return placeHold(tx, kit.clock, { ...body, customer_id: owner.id, actor_id: actor.id, idempotency_key })
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/holds/:id',
    who: { key: 'wallets:read', staff: 'wallets:read' },
    tag: 'holds',
    summary: 'Read a hold',
    params: id,
    answer: schemas.hold,
    read: ({ params }) => getHold(kit.db, params.id),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/holds/:id/capture',
    who: HOLD,
    tag: 'holds',
    summary: 'Use up a hold or a smaller part of it; the rest goes back to its grants',
    params: id,
    body: schemas.capture.prefault({}),
    answer: schemas.hold,
    errors: { 402: ['insufficient_funds'], 409: ['invalid_state'] },
    write: (tx, { params, body, actor, idempotency_key }) =>
      captureHold(tx, kit.clock, {
        hold_id: params.id,
        amount: body.amount,
        actor_id: actor.id,
        idempotency_key,
      }),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/holds/:id/release',
    who: HOLD,
    tag: 'holds',
    summary: 'Give a hold back to its grants',
    params: id,
    answer: schemas.hold,
    errors: { 409: ['invalid_state'] },
    write: (tx, { params, actor, idempotency_key }) =>
      releaseHold(tx, kit.clock, { hold_id: params.id, actor_id: actor.id, idempotency_key }),
  })
}

function correctionRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/spends/:id/reversal',
    who: { key: 'spends:write', staff: 'adjustments:write' },
    tag: 'spends',
    status: 201,
    summary: 'Give back what a spend took, to the same grants',
    params: id,
    body: schemas.newReversal.prefault({}),
    answer: schemas.reversal,
    errors: { 403: ['approval_required'], 409: ['invalid_state'] },
    audit: { action: 'spend.reversed', is_for_people_only: true },
    write: async (tx, { params, body, actor, idempotency_key }) => {
      const wish = { ...body, spend_id: params.id, actor_id: actor.id, idempotency_key }
      const reversal = await reverseSpend(tx, kit.clock, wish)
      // Units given back by hand are a correction by another name; how many is known when it is done.
      if (actor.kind === 'user' && !reversal.is_replay) {
        const { unit: measure, amount, customer_id } = reversal
        const given = { kind: 'adjustment', measure, amount } as const
        await kit.refuseAlone?.(tx, { ...given, actor_id: actor.id, customer_id })
      }
      return reversal
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/customers/:id/adjustments',
    tag: 'wallets',
    status: 201,
    who: { key: 'adjustments:write', staff: 'adjustments:write' },
    summary: 'Correct a balance, with a reason that stays in the books',
    params: customer,
    body: schemas.newAdjustment,
    answer: schemas.adjustment,
    errors: { 402: ['insufficient_funds'], 403: ['approval_required'] },
    audit: { action: 'adjustment.made' },
    write: async (tx, { params, body, actor, idempotency_key }) => {
      const owner = await resolveCustomer(tx, params.id)
      await kit.refuseAlone?.(tx, {
        kind: 'adjustment',
        measure: body.unit,
        amount: body.amount,
        actor_id: actor.id,
        customer_id: owner.id,
      })
      return adjust(tx, kit.clock, { ...body, customer_id: owner.id, actor_id: actor.id, idempotency_key })
    },
  })
}

function betweenCustomersRoutes(app: FastifyInstance, kit: RouteKit, benefits: BenefitKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/transfers',
    who: { key: 'transfers:write' },
    tag: 'wallets',
    status: 201,
    summary: 'Move units from one customer to another, lot by lot',
    body: schemas.newGift,
    answer: schemas.gift,
    errors: { 402: ['insufficient_funds'] },
    write: async (tx, { body, actor, idempotency_key }) => {
      const from = await resolveCustomer(tx, body.from_customer_id)
      const to = await resolveCustomer(tx, body.to_customer_id)
      return transferUnits(tx, kit.clock, {
        ...body,
        from_customer_id: from.id,
        to_customer_id: to.id,
        actor_id: actor.id,
        idempotency_key,
      })
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/customers/:id/merge',
    tag: 'customers',
    who: { key: 'customers:write', staff: 'customers:write' },
    summary: 'Make two customers one, without losing a grant',
    params: customer,
    body: schemas.newMerge,
    answer: schemas.merged,
    errors: { 403: ['approval_required'], 409: ['invalid_state'] },
    audit: { action: 'customer.merged', subject: (_call, done) => done.customer_id },
    write: async (tx, { params, body, actor }) => {
      const from = await resolveCustomer(tx, params.id)
      const into = await resolveCustomer(tx, body.into_customer_id)
      const wallets = await mergeWallets(tx, kit.clock, {
        from_customer_id: from.id,
        to_customer_id: into.id,
      })
      // A customer given to another gives him all he has: by hand that is a correction by another name.
      for (const { unit, amount, scheduled } of actor.kind === 'user' ? wallets : []) {
        const moved = { kind: 'adjustment', measure: unit, amount: amount + scheduled } as const
        if (moved.amount === 0n) continue
        await kit.refuseAlone?.(tx, { ...moved, actor_id: actor.id, customer_id: into.id })
      }
      const survivor = await mergeCustomer(tx, kit.clock, { from_id: from.id, into_id: into.id })
      await extendForCustomers(tx, benefits, [survivor.id])
      return { customer_id: survivor.id, wallets: wallets.map(({ unit }) => ({ unit })) }
    },
  })
}
