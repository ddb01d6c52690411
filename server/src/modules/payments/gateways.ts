import { readdirSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { GatewayUnavailable, type Gateway, type GatewayContext } from '@kopilka/extension'
import type { Clock } from '#kernel/clock'
import { assert, OperationalError } from '#kernel/errors'
import { GatewayNotAvailable } from './errors.ts'
import { createGatewayHealth, type GatewayHealth, type OnBreaker } from './gateway-health.ts'
import { readGatewaySettings } from './gateway-settings.ts'
import type { OrderRule } from './gateway-order.ts'

const OWN = path.join(import.meta.dirname, 'gateways')

/** A gateway with its settings, ready to be called. */
export interface ReadyGateway {
  gateway: Gateway
  config: unknown
  is_test: boolean
  /** The owner's order: the lowest is offered first. */
  position: number
}

export interface Gateways {
  /** Throws {@link GatewayNotAvailable} when it is not installed, not set up, or of the wrong mode. */
  get(id: string): ReadyGateway
  find(id: string): ReadyGateway | undefined
  /** All that are set up, in the owner's order. */
  list(): ReadyGateway[]
  /** All installed files, set up or not. */
  installed(): Gateway[]
  /** Replaces the settings of one gateway. Throws when they do not fit its schema. */
  configure(id: string, values: unknown, position?: number): void
  disable(id: string): void
  context(id: string): GatewayContext
  /** What the vendors' answers told of them in this process. */
  health: GatewayHealth
  mode: 'sandbox' | 'live'
  /** The owner's rules of which gateway is chosen first. */
  rules: readonly OrderRule[]
}

export interface GatewaysOptions {
  clock: Clock
  base_url: () => string
  /**
   * Sandbox installations move no real money, live ones no test money: each takes only its own credentials.
   */
  mode: 'sandbox' | 'live'
  log_refused?: (gateway: string, reason: string) => void
  /** Whether a payment of ours may still be paid; for vendors that ask before they take the money. */
  isPayable?: (payment_id: string) => Promise<boolean>
  rules?: readonly OrderRule[]
  on_breaker?: OnBreaker
}

/**
 * Loads every gateway file of the given folders; the file's name must equal the gateway's id.
 * Throws an assertion for a file that is not a gateway.
 */
export async function loadGatewayFiles(folders: readonly string[] = []): Promise<Gateway[]> {
  const gateways: Gateway[] = []
  for (const folder of [OWN, ...folders]) {
    for (const name of filesOf(folder)) {
      const file = (await import(pathToFileURL(path.join(folder, name)).href)) as { default?: Gateway }
      const gateway = file.default
      assert(gateway !== undefined && typeof gateway.id === 'string', `${name} does not export a gateway`)
      assert(
        gateway.id === path.basename(name, '.ts'),
        `${name} exports the gateway ${gateway.id}: names must agree`,
      )
      assert(!gateways.some((other) => other.id === gateway.id), `two gateways are called ${gateway.id}`)
      gateways.push(gateway)
    }
  }
  return gateways
}

/** The gateways of one process with their settings. */
export function createGateways(installed: readonly Gateway[], options: GatewaysOptions): Gateways {
  const ready = new Map<string, ReadyGateway>()
  const caches = new Map<string, GatewayContext['cache']>()
  const byId = new Map(installed.map((gateway) => [gateway.id, gateway]))
  const health = createGatewayHealth(options.clock, options.on_breaker)
  return {
    health,
    mode: options.mode,
    rules: options.rules ?? [],
    get: (id) => {
      const found = ready.get(id)
      if (found) return found
      const detail = byId.has(id)
        ? `The gateway ${id} is installed and not set up for this ${options.mode} installation.`
        : `There is no gateway ${id}.`
      throw new GatewayNotAvailable(`${detail} Set up: ${[...ready.keys()].join(', ') || 'none'}.`, {
        gateway: id,
      })
    },
    find: (id) => ready.get(id),
    list: () => [...ready.values()].toSorted((a, b) => a.position - b.position),
    installed: () => [...installed],
    configure: (id, values, position) => {
      const gateway = byId.get(id)
      if (!gateway) throw new GatewayNotAvailable(`There is no gateway ${id}.`, { gateway: id })
      const config = readGatewaySettings(gateway, values)
      const is_test = gateway.isTest(config)
      if (is_test !== (options.mode === 'sandbox')) {
        const reason = `has ${is_test ? 'test' : 'live'} credentials in a ${options.mode} installation`
        options.log_refused?.(id, reason)
        throw new GatewayNotAvailable(`The gateway ${id} ${reason}.`, { gateway: id })
      }
      ready.set(id, { gateway: health.watch(gateway), config, is_test, position: position ?? ready.size + 1 })
    },
    disable: (id) => {
      ready.delete(id)
    },
    context: (id) => {
      const cache: GatewayContext['cache'] =
        caches.get(id) ?? new Map<string, { value: unknown; expires_at: number }>()
      caches.set(id, cache)
      return {
        now: options.clock.now(),
        base_url: options.base_url(),
        cache,
        ...(options.isPayable ? { isPayable: options.isPayable } : {}),
      }
    },
  }
}

/**
 * Calls a gateway and turns "cannot be reached" into our OperationalError `gateway_unavailable` (503).
 * The outcome is then unknown: the caller keeps the intent and the janitor asks again.
 */
export async function callGateway<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw asGatewayError(error)
  }
}

/** A gateway that cannot be reached as the OperationalError it means to us; every other error as it is. */
export function asGatewayError(error: unknown): unknown {
  if (!(error instanceof GatewayUnavailable)) return error
  return new OperationalError('gateway_unavailable', 'The gateway does not answer now; nothing was lost.', {
    cause: error,
    retry_after_seconds: Math.ceil((error.retry_after_ms ?? 2000) / 1000),
  })
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.ts') && !/\.test\.ts$|\.d\.ts$/.test(name))
      .toSorted()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
