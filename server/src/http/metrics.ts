import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import { inTime } from './in-time.ts'
import { createRequestCounts, type RequestCounts } from './request-counts.ts'

type Figure = number | Readonly<Record<string, number>>

/** Whoever scrapes gives up after ten seconds, and would then see nothing at all. */
const READ_MS = 1_000

/** The figures of one process, in Prometheus' words. Parts of the server add theirs here. */
export interface Metrics {
  readonly registry: Registry
  /** A figure that only grows. `name` ends in `_total`. Ask once and keep it. */
  counter<Label extends string>(name: string, help: string, labels?: readonly Label[]): Counter<Label>
  /**
   * A figure that is read when somebody looks: one number, or one per value of a label. One that cannot be
   * read, or not within a second, is left out: the others must be seen all the more when the database is
   * away.
   */
  gauge(name: string, help: string, read: () => Figure | Promise<Figure>, label?: string): void
  readonly requests: RequestCounts
  /** What `/metrics` answers. */
  text(): Promise<string>
}

/**
 * Makes the figures of a process. `has_process_metrics` false leaves out memory, CPU and event loop
 * (tests).
 */
export function createMetrics(has_process_metrics = true): Metrics {
  const registry = new Registry()
  if (has_process_metrics) collectDefaultMetrics({ register: registry })
  const requests = createRequestCounts()
  return {
    registry,
    counter: (name, help, labels = []) =>
      new Counter({ name, help, labelNames: labels, registers: [registry] }),
    gauge: (name, help, read, label) => {
      const readOnce = shared(read)
      const gauge: Gauge = new Gauge({
        name,
        help,
        labelNames: label === undefined ? [] : [label],
        registers: [registry],
        collect: async () => {
          // Whoever scrapes sees that it is missing; why, the log of the one who failed tells.
          const now = await inTime<Figure | undefined>(readOnce, READ_MS, undefined)
          gauge.reset()
          // Without labels a figure that was reset is nought, which nobody has read.
          if (now === undefined) gauge.remove({})
          else if (typeof now === 'number') gauge.set(now)
          else
            for (const [value, amount] of Object.entries(now)) gauge.set({ [label ?? 'name']: value }, amount)
        },
      })
    },
    requests,
    text: async () => `${await registry.metrics()}\n${requests.text()}`,
  }
}

/** A database that hangs is asked once, not once per scrape: each question holds a connection. */
function shared(read: () => Figure | Promise<Figure>): () => Promise<Figure> {
  let running: Promise<Figure> | undefined
  return () => {
    running ??= Promise.resolve()
      .then(read)
      .finally(() => {
        running = undefined
      })
    return running
  }
}

/** The gauges of the database's pool. */
export function addPoolMetrics(
  metrics: Metrics,
  pool: { readonly totalCount: number; readonly idleCount: number; readonly waitingCount: number },
): void {
  const read = () => ({
    idle: pool.idleCount,
    busy: pool.totalCount - pool.idleCount,
    waiting: pool.waitingCount,
  })
  metrics.gauge(
    'kopilka_database_connections',
    'Connections of the pool and those who wait for one.',
    read,
    'state',
  )
}
