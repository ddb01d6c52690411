import type { Sql } from '#kernel/db'
import type { Gateways } from './gateways.ts'
import { countFailedEvents } from './inbox-review.ts'

const LEVELS = { closed: 0, half_open: 1, open: 2 } as const

/** What of the server's metrics is needed here. */
interface Gauges {
  gauge(
    name: string,
    help: string,
    read: () => Readonly<Record<string, number>> | Promise<Readonly<Record<string, number>>>,
    label: string,
  ): void
}

/** Adds the gauge of the gateways' breakers in this process. */
export function addGatewayMetrics(metrics: Gauges, gateways: Gateways): void {
  metrics.gauge(
    'kopilka_gateway_breaker_state',
    'Whether a gateway’s vendor answers: 0 closed, 1 half open, 2 open.',
    () =>
      Object.fromEntries(
        gateways.list().map(({ gateway }) => [gateway.id, LEVELS[gateways.health.of(gateway.id).state]]),
      ),
    'gateway',
  )
}

/** Adds the gauge of the vendors' notifications that were given up; every process tells the same. */
export function addInboxMetrics(sql: Sql, metrics: Gauges, gateways: Gateways): void {
  metrics.gauge(
    'kopilka_inbox_failed',
    'Notifications of a vendor that could not be acted on and wait for a person.',
    async () => {
      const none = gateways.list().map(({ gateway }) => [gateway.id, 0] as const)
      return { ...Object.fromEntries(none), ...(await countFailedEvents(sql)) }
    },
    'gateway',
  )
}
