import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { newId } from '#kernel/ids'
import { toPage } from '#kernel/page'
import { resolveCustomer } from '#modules/customers'
import * as queries from './queries.ts'
import * as schemas from './schemas.ts'
import { quoteMeterEvent, recordMeterEvent } from './usage.ts'

const READ = { key: 'usage:read', staff: 'usage:read' } as const
const WRITE = { key: 'usage:write', staff: 'usage:write' } as const
const SET = { key: 'catalog:write', staff: 'catalog:write' } as const
const page = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.string().max(1000).optional(),
})

/** Adds the routes of meters, rate cards and meter events. */
export function usageRoutes(app: FastifyInstance, kit: RouteKit): void {
  eventRoutes(app, kit)
  meterRoutes(app, kit)
  rateCardRoutes(app, kit)
}

function eventRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/meter_events',
    who: WRITE,
    tag: 'usage',
    status: 201,
    summary: 'Record a use and take its units',
    body: schemas.newMeterEvent,
    answer: schemas.meterEvent,
    errors: { 402: ['insufficient_funds'], 422: ['idempotency_key_reused'] },
    write: async (tx, { body, actor, idempotency_key }) => {
      const customer = await resolveCustomer(tx, body.customer_id)
      const event = {
        ...body,
        event_id: body.event_id ?? idempotency_key,
        customer_id: customer.id,
        actor_id: actor.id,
      }
      return schemas.meterEventWire(await recordMeterEvent(tx, kit.clock, event))
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/meter_events/quote',
    who: READ,
    tag: 'usage',
    summary: 'What a use would cost; changes nothing',
    body: schemas.newMeterEvent,
    answer: schemas.quote,
    read: async ({ body, actor }) => {
      const customer = await resolveCustomer(kit.db, body.customer_id)
      const event = { ...body, event_id: body.event_id ?? '', customer_id: customer.id, actor_id: actor.id }
      return schemas.quoteWire(await quoteMeterEvent(kit.db, kit.clock, event))
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/meter_events',
    who: READ,
    tag: 'usage',
    summary: 'List uses, newest first',
    query: schemas.meterEventFilter,
    answer: schemas.meterEventPage,
    read: async ({ query }) => {
      const customer =
        query.customer_id === undefined ? undefined : await resolveCustomer(kit.db, query.customer_id)
      const opened = query.cursor === undefined ? undefined : kit.cursors.open('meter_events', query.cursor)
      const after = opened && { created_at: new Date(String(opened[0])), id: String(opened[1]) }
      const filter = { customer_id: customer?.id, meter: query.meter }
      const rows = await queries.listEvents(kit.db, filter, { limit: query.limit, after })
      return toPage(
        rows,
        query.limit,
        kit.cursors,
        'meter_events',
        (row) => [row.created_at.toISOString(), row.id],
        schemas.meterEventWire,
      )
    },
  })
}

function meterRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/meters',
    who: READ,
    tag: 'usage',
    summary: 'List meters',
    query: page,
    answer: schemas.meterPage,
    read: async ({ query }) => {
      const rows = await queries.listMeters(kit.db, query.limit, openText(kit, 'meters', query.cursor))
      return toPage(rows, query.limit, kit.cursors, 'meters', (row) => [row.code], schemas.meterWire)
    },
  })
  addRoute(app, kit, {
    method: 'PUT',
    url: '/v1/meters/:code',
    who: SET,
    tag: 'usage',
    summary: 'Set what a use costs in units',
    params: z.object({ code: z.string().max(50) }),
    body: schemas.newMeter.omit({ code: true }),
    answer: schemas.meter,
    audit: { action: 'meter.changed', subject: ({ params }) => params.code },
    write: async (tx, { params, body }) => {
      const { code } = schemas.newMeter.pick({ code: true }).parse(params)
      return schemas.meterWire(await queries.upsertMeter(tx, { ...body, code }, kit.clock.now()))
    },
  })
}

function rateCardRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/rate_cards',
    who: READ,
    tag: 'usage',
    summary: 'List what providers charge',
    query: page,
    answer: schemas.rateCardPage,
    read: async ({ query }) => {
      const rows = await queries.listRateCards(kit.db, query.limit, openText(kit, 'rate_cards', query.cursor))
      return toPage(rows, query.limit, kit.cursors, 'rate_cards', (row) => [row.id], schemas.rateCardWire)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/rate_cards',
    who: SET,
    tag: 'usage',
    status: 201,
    summary: 'Set what a provider charges from a day on',
    body: schemas.newRateCard,
    answer: schemas.rateCard,
    audit: { action: 'rate_card.created' },
    write: async (tx, { body }) => {
      const now = kit.clock.now()
      return schemas.rateCardWire(
        await queries.upsertRateCard(tx, {
          ...body,
          id: newId('card', now.getTime()),
          round_per: 'request',
          effective_to: null,
          created_at: now,
        }),
      )
    },
  })
}

function openText(kit: RouteKit, list: string, cursor: string | undefined): string | undefined {
  return cursor === undefined ? undefined : String(kit.cursors.open(list, cursor)[0])
}
