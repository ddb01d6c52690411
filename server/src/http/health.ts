import type { FastifyInstance, FastifyRequest } from 'fastify'
import { sameBytes } from '@kopilka/extension'
import type { Sql } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { migrationNumbers } from '#kernel/migrate'
import { isPrivateAddress } from './client-address.ts'
import { appliedMigrations } from './health-queries.ts'
import { inTime } from './in-time.ts'

/** Something that must be in order before this process is sent requests, e.g. its job queue. */
export interface ReadinessCheck {
  name: string
  /** False, a throw, or no answer within a second means: not ready. */
  check: () => boolean | Promise<boolean>
}

export interface HealthOptions {
  sql: Sql
  readiness: readonly ReadinessCheck[]
  /** With it `/metrics` may be read from anywhere, as `Authorization: Bearer …`. */
  metrics_token?: string | undefined
  /** Addresses of forwarded requests are believed; see `trusted_proxies`. */
  trusts_proxies: boolean
}

const TIMEOUT_MS = 1_000
/** Probes ask every few seconds; many askers at once share one look at the database. */
const REMEMBER_MS = 250

/**
 * `/healthz`: the process lives. `/readyz`: it may be sent requests. `/metrics`: figures for Prometheus, for
 * machines of the same network or with the token; to everybody else it does not exist.
 */
export function addHealthRoutes(app: FastifyInstance, options: HealthOptions): void {
  const ready = createReadiness(options)
  const probe = { who: { proof: 'nothing is told' }, is_probe: true, is_hot: true }
  app.get('/healthz', { config: probe, schema: { hide: true } }, (_request, reply) =>
    reply.send({ status: 'ok' }),
  )
  app.get('/readyz', { config: probe, schema: { hide: true } }, async (_request, reply) => {
    const checks = app.drain.is_draining ? { draining: false } : await ready()
    const is_ready = Object.values(checks).every(Boolean)
    const words = Object.entries(checks).map(([name, is_fine]) => [name, is_fine ? 'ok' : 'failed'] as const)
    if (!is_ready) reply.header('retry-after', '1')
    return reply
      .status(is_ready ? 200 : 503)
      .send({ status: is_ready ? 'ready' : 'not_ready', checks: Object.fromEntries(words) })
  })
  const metrics = { who: { proof: 'a private address or the metrics token' }, is_probe: true, is_hot: true }
  app.get('/metrics', { config: metrics, schema: { hide: true } }, async (request, reply) => {
    if (!mayReadMetrics(request, options)) throw new NotFound('There is nothing at this address.')
    return reply.type(app.metrics.registry.contentType).send(await app.metrics.text())
  })
}

/** Runs all checks at once, at most once per moment, each with its time limit. */
function createReadiness(options: HealthOptions): () => Promise<Record<string, boolean>> {
  const expected = migrationNumbers()
  let applied: Promise<number[]> | undefined
  const database = async (): Promise<number[]> => {
    // A database that hangs is asked once, not once per probe: each question holds a connection.
    applied ??= appliedMigrations(options.sql).finally(() => {
      applied = undefined
    })
    return applied
  }
  const checks: readonly ReadinessCheck[] = [
    { name: 'database', check: async () => (await database()).length >= 0 },
    { name: 'migrations', check: async () => sameNumbers(await database(), expected) },
    ...options.readiness,
  ]
  const run = async (): Promise<Record<string, boolean>> => {
    const results = await Promise.all(
      checks.map(async ({ name, check }) => [name, await inTime(check, TIMEOUT_MS, false)] as const),
    )
    return Object.fromEntries(results)
  }
  let latest: Promise<Record<string, boolean>> | undefined
  let latest_at = 0
  return () => {
    const now = performance.now()
    if (latest === undefined || now - latest_at > REMEMBER_MS) {
      latest = run()
      latest_at = now
    }
    return latest
  }
}

function sameNumbers(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((number, index) => number === right[index])
}

function mayReadMetrics(request: FastifyRequest, options: HealthOptions): boolean {
  const [, token] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? []
  if (options.metrics_token && token !== undefined && sameBytes(token, options.metrics_token)) return true
  // Behind a proxy that is not trusted every caller seems to come from the proxy's own, private address.
  const { 'x-forwarded-for': forwarded_for, forwarded, 'x-real-ip': real_ip } = request.headers
  const is_forwarded = forwarded_for !== undefined || forwarded !== undefined || real_ip !== undefined
  return isPrivateAddress(request.ip ?? '') && (options.trusts_proxies || !is_forwarded)
}
