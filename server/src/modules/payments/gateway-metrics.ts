import type { Gateways } from './gateways.ts'

const LEVELS = { closed: 0, half_open: 1, open: 2 } as const

/** What of the server's metrics is needed here. */
interface Gauges {
  gauge(name: string, help: string, read: () => Readonly<Record<string, number>>, label: string): void
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
