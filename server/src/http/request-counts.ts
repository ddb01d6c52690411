/** How long requests took: counts of one route, by status. */
export type CountRequest = (status: number, elapsed_ms: number) => void

/** A Prometheus histogram of all requests by method, route and status. */
export interface RequestCounts {
  /** Where the requests of a route are counted; to be asked for once per route and kept. */
  of(method: string, route: string): CountRequest
  /** All counts as Prometheus reads them. */
  text(): string
}

const NAME = 'kopilka_http_request_duration_seconds'
/** In milliseconds, from a read out of memory to the longest a vendor may take. */
const BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 40_000]

interface Series {
  labels: string
  /** Requests up to each bound and not up to the one before; the last place is for all longer ones. */
  counts: Float64Array
  sum_ms: number
}

/**
 * Counts without looking anything up by labels: prom-client's histogram joins and hashes its labels for
 * every request, which takes as long as checking a small body.
 */
export function createRequestCounts(): RequestCounts {
  const routes = new Map<string, Map<number, Series>>()
  return {
    of: (method, route) => {
      const name = `method="${escapeLabel(method)}",route="${escapeLabel(route)}"`
      const by_status = routes.get(name) ?? new Map<number, Series>()
      routes.set(name, by_status)
      return (status, elapsed_ms) => {
        let series = by_status.get(status)
        if (series === undefined) {
          series = {
            labels: `${name},status="${status}"`,
            counts: new Float64Array(BOUNDS_MS.length + 1),
            sum_ms: 0,
          }
          by_status.set(status, series)
        }
        let place = 0
        while (place < BOUNDS_MS.length && elapsed_ms > (BOUNDS_MS[place] ?? 0)) place++
        series.counts[place] = (series.counts[place] ?? 0) + 1
        series.sum_ms += elapsed_ms
      }
    },
    text: () => {
      const lines = [
        `# HELP ${NAME} How long requests took, by route and status.`,
        `# TYPE ${NAME} histogram`,
      ]
      for (const by_status of routes.values())
        for (const series of by_status.values()) lines.push(...linesOf(series))
      return `${lines.join('\n')}\n`
    },
  }
}

function linesOf({ labels, counts, sum_ms }: Series): string[] {
  let total = 0
  const buckets = [...counts].map((count, place) => {
    total += count
    const bound = BOUNDS_MS[place]
    return `${NAME}_bucket{le="${bound === undefined ? '+Inf' : bound / 1000}",${labels}} ${total}`
  })
  return [...buckets, `${NAME}_sum{${labels}} ${sum_ms / 1000}`, `${NAME}_count{${labels}} ${total}`]
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
