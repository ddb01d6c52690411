import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { pageOf, timestamp } from '#http/wire'
import type { Breaker } from './breaker.ts'
import type { ReadyGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'

const gateway = z
  .object({
    id: z.string(),
    title: z.string(),
    is_test: z.boolean(),
    position: z.int(),
    currencies: z.array(z.string()),
    needs_receipt_contact: z.boolean(),
    needs_telegram_id: z.boolean(),
    may: z.object({
      hold: z.boolean(),
      refund: z.boolean(),
      refund_partially: z.boolean(),
      charge_saved_method: z.boolean(),
      charge_subscription: z.boolean(),
      preview: z.boolean(),
      be_compared: z.enum(['list', 'one_by_one']),
    }),
    breaker: z
      .object({
        state: z.enum(['closed', 'open', 'half_open']),
        failures: z.int().describe('Since the last success.'),
        reason: z.string().nullable(),
        opened_at: timestamp.nullable(),
        probe_at: timestamp.nullable(),
      })
      .describe('What this process knows; open: its vendor does not answer and payments go elsewhere.'),
  })
  .meta({ id: 'Gateway' })

/** Adds the list of the gateways that are set up, with what they can and whether their vendors answer. */
export function gatewayRoute(app: FastifyInstance, kit: RouteKit, { gateways }: PaymentsKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/gateways',
    who: { key: 'payments:read', staff: 'payments:read' },
    tag: 'payments',
    summary: 'List the gateways that are set up, in their order, with the state of their breakers',
    answer: pageOf(gateway),
    read: () => {
      const items = gateways.list().map((ready) => gatewayWire(ready, gateways.health.of(ready.gateway.id)))
      return { items, next_cursor: null }
    },
  })
}

function gatewayWire(
  { gateway: file, config, is_test, position }: ReadyGateway,
  { state, failures, reason, opened_at_ms, probe_at_ms }: Breaker,
): z.output<typeof gateway> {
  const { id, title, currencies, needs } = file
  const contact = needs?.receipt_contact
  return {
    id,
    title,
    is_test,
    position,
    currencies: [...currencies],
    needs_receipt_contact: typeof contact === 'function' ? contact(config) : contact === true,
    needs_telegram_id: needs?.telegram_id === true,
    may: {
      hold: file.capturePayment !== undefined,
      refund: file.refund !== undefined,
      refund_partially: file.refund !== undefined && file.may_refund_partially !== false,
      charge_saved_method: file.chargeSavedMethod !== undefined,
      charge_subscription: file.chargeSubscription !== undefined,
      preview: file.previewPayment !== undefined,
      be_compared: file.listPayments === undefined ? 'one_by_one' : 'list',
    },
    breaker: {
      state,
      failures,
      reason: reason ?? null,
      opened_at: moment(opened_at_ms),
      probe_at: moment(probe_at_ms),
    },
  }
}

function moment(ms: number | undefined): Date | null {
  return ms === undefined ? null : new Date(ms)
}
