import { GatewayUnavailable, watchCalls, type Gateway, type GatewayContext } from '@kopilka/extension'
import type { Clock } from '#kernel/clock'
import { afterFailure, afterSuccess, beforeProbe, CLOSED, type Breaker } from './breaker.ts'

/** Called when a gateway is found to be down, or to be there again. */
export type OnBreaker = (gateway: string, breaker: Breaker) => void

/** What this process knows of its gateways' vendors by their answers. */
export interface GatewayHealth {
  of(id: string): Breaker
  /** The gateway with every call to its vendor watched. */
  watch(gateway: Gateway): Gateway
  /**
   * Whether payments may be taken to it now. When a probe is due this one begins it: by the gateway's cheap
   * call where it has one, or by letting the asker's own call through. `waits` for the probe's answer;
   * otherwise whoever has a choice goes elsewhere meanwhile. Never inside a transaction.
   */
  isUp(
    ready: { gateway: Gateway; config: unknown },
    context: GatewayContext,
    options: { waits: boolean },
  ): Promise<boolean>
}

/** A probe has to be quick: a buyer waits for it. */
const PROBE_TIMEOUT_MS = 5_000

/** The calls that reach a vendor. Notifications are parsed without it and say nothing about it. */
const CALLS = [
  'createPayment',
  'getPayment',
  'capturePayment',
  'cancelPayment',
  'refund',
  'getRefund',
  'chargeSavedMethod',
  'previewPayment',
  'chargeSubscription',
  'removeSavedMethod',
  'createReceipt',
  'listPayments',
  'listRefunds',
  'listDisputes',
  'getSubscription',
  'cancelSubscription',
  'endSubscription',
  'resumeSubscription',
  'checkHealth',
] as const

/** Breakers of one process, one per gateway. */
export function createGatewayHealth(clock: Clock, on_change: OnBreaker = () => undefined): GatewayHealth {
  const breakers = new Map<string, Breaker>()
  const probes = new Map<string, Promise<boolean>>()
  const of = (id: string): Breaker => breakers.get(id) ?? CLOSED
  const set = (id: string, next: Breaker): void => {
    const before = of(id)
    breakers.set(id, next)
    // A probe that finds nobody tells nothing new.
    if ((before.opened_at_ms === undefined) !== (next.opened_at_ms === undefined)) on_change(id, next)
  }
  const watchOne: WatchOne = async (id, name, call) => {
    const { result, calls } = await watchCalls(call)
    const failure = failureOf(name, result, calls.unavailable)
    if (failure === undefined) {
      // What was made up without a word of the vendor says nothing about the vendor.
      const is_told = calls.has_reached || (of(id).state === 'half_open' && result.status === 'fulfilled')
      if (is_told) set(id, afterSuccess(of(id), clock.now_ms()))
    } else if (failure !== THROTTLED) {
      set(id, afterFailure(of(id), clock.now_ms(), failure))
    }
    if (result.status === 'rejected') throw result.reason
    return result.value
  }
  return {
    of,
    watch: (gateway) => watched(gateway, watchOne),
    isUp: async (ready, context, { waits }) => {
      const { id } = ready.gateway
      if (of(id).state === 'closed') return true
      const running = probes.get(id)
      if (running) return waits ? running : false
      const next = beforeProbe(of(id), clock.now_ms())
      if (!next) return false
      set(id, next)
      // Without a cheap call the asker's own is the probe.
      if (!ready.gateway.checkHealth) return true
      const started = probe(ready, context).finally(() => probes.delete(id))
      probes.set(id, started)
      return waits ? started : false
    },
  }

  async function probe(
    { gateway, config }: { gateway: Gateway; config: unknown },
    context: GatewayContext,
  ): Promise<boolean> {
    // The gateway is a watched one: what its call meets has moved the breaker already.
    const [asked] = await Promise.allSettled([
      gateway.checkHealth?.(config, { ...context, timeout_ms: PROBE_TIMEOUT_MS }),
    ])
    const is_undecided = of(gateway.id).state === 'half_open'
    if (is_undecided && asked?.status === 'rejected')
      set(gateway.id, afterFailure(of(gateway.id), clock.now_ms(), 'the probe failed'))
    return of(gateway.id).state === 'closed'
  }
}

/** A vendor that asks for patience is there; another payment a moment later may well be taken. */
const THROTTLED = 'too many requests'

type WatchOne = (id: string, name: string, call: () => Promise<unknown>) => Promise<unknown>

/** A look at the credentials tells of a vendor that is down in a value. */
function failureOf(
  name: string,
  result: PromiseSettledResult<unknown>,
  unavailable: string | undefined,
): string | undefined {
  if (result.status === 'rejected')
    return result.reason instanceof GatewayUnavailable ? result.reason.reason : undefined
  const is_well = name !== 'checkHealth' || (result.value as { ok: boolean }).ok
  return is_well ? undefined : unavailable
}

type AnyCall = (...input: unknown[]) => Promise<unknown>

/** What the gateway answers is untouched. A file may export an object of a class: its methods come along. */
function watched(gateway: Gateway, watchOne: WatchOne): Gateway {
  const copy = Object.assign(Object.create(Object.getPrototypeOf(gateway) as object) as Gateway, gateway)
  for (const name of CALLS) {
    const call = gateway[name]?.bind(gateway) as AnyCall | undefined
    if (!call) continue
    const watchedCall: AnyCall = (...input) => watchOne(gateway.id, name, () => call(...input))
    Object.assign(copy, { [name]: watchedCall })
  }
  return copy
}
