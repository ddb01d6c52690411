import { randomInt } from 'node:crypto'
import type { Tx } from '#kernel/db'
import { SecretUnreadable } from '#kernel/secrets'
import { endAttempts, type AttemptEnd, type ClaimedDelivery } from './delivery-queries.ts'
import { lockEndpoint, updateEndpoint } from './endpoint-queries.ts'
import { secretContext } from './endpoints.ts'
import { webhookEndpointDisabled } from './events.ts'
import type { NotificationsKit, SendResult } from './kit.ts'
import { FAILING_MAX_MS, nextAttempt } from './schedule.ts'
import { signedHeaders } from './signing.ts'

/** An attempt and what came of it. */
export interface Attempted {
  delivery: ClaimedDelivery
  result: SendResult
}

const GONE = 410

/**
 * Signs and sends a claimed delivery. Never throws: what cannot be signed has failed, and is told
 * in the log.
 */
export async function attemptDelivery(
  kit: NotificationsKit,
  delivery: ClaimedDelivery,
  signal: AbortSignal,
): Promise<SendResult> {
  try {
    const signed = signedHeaders({
      id: delivery.event_id,
      body: delivery.body,
      sent_at_ms: kit.realTime(),
      secrets: secretsOf(kit, delivery),
    })
    const headers = { 'content-type': 'application/json', 'user-agent': 'Kopilka-Webhooks/1', ...signed }
    return await kit.transport.send({ url: delivery.url, headers, body: delivery.body, signal })
  } catch (error) {
    const facts = { webhook_endpoint_id: delivery.endpoint_id, webhook_delivery_id: delivery.id }
    const message = error instanceof SecretUnreadable ? `${error.message}. ${error.hint}` : String(error)
    kit.notice('a webhook could not be sent', { ...facts, message })
    return { outcome: 'failed' }
  }
}

/** The secrets that sign now, newest first. */
function secretsOf(kit: NotificationsKit, delivery: ClaimedDelivery): string[] {
  const { secret, previous_secret, previous_secret_expires_at } = delivery
  const context = secretContext(delivery.endpoint_id)
  const is_old_valid =
    previous_secret_expires_at !== null && previous_secret_expires_at.getTime() > kit.clock.now_ms()
  const sealed = previous_secret !== null && is_old_valid ? [secret, previous_secret] : [secret]
  return sealed.map((text) => kit.box.open(text, context))
}

/**
 * Records what attempts ended with: done, again later, or given up; and what that says about their endpoints.
 * One that answers 410 is disabled at once, one where nothing succeeded for five days too.
 */
export async function recordAttempts(
  tx: Tx,
  kit: NotificationsKit,
  attempted: readonly Attempted[],
): Promise<void> {
  const now = kit.clock.now()
  const counted = await endAttempts(
    tx,
    attempted.map((one) => endOf(one, now)),
  )
  const by_endpoint = new Map<string, SendResult[]>()
  for (const { delivery, result } of attempted) {
    if (!counted.has(delivery.id) || result.outcome === 'aborted') continue
    const results = by_endpoint.get(delivery.endpoint_id) ?? []
    by_endpoint.set(delivery.endpoint_id, [...results, result])
  }
  // In the order of ids, so that two processes do not wait for each other.
  for (const [id, results] of [...by_endpoint].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    await judgeEndpoint(tx, kit, id, results)
  }
}

function endOf({ delivery, result }: Attempted, now: Date): AttemptEnd {
  const { id, attempts, attempts_left } = delivery
  const status_code = result.outcome === 'answered' ? result.status_code : null
  if (result.outcome === 'aborted') {
    const next_attempt_at = now.toISOString()
    return { id, attempts, status: 'pending', result: null, status_code, next_attempt_at, given_back: 1 }
  }
  if (isSuccess(result)) {
    const end = { status: 'succeeded', result: 'succeeded', next_attempt_at: null } as const
    return { id, attempts, status_code, given_back: 0, ...end }
  }
  const next = nextAttempt({ attempts_left, failed_at: now, jitter: randomInt(1000) })
  return {
    id,
    attempts,
    status: next ? 'pending' : 'failed',
    result: result.outcome === 'answered' ? 'failed' : result.outcome,
    status_code,
    next_attempt_at: next?.toISOString() ?? null,
    given_back: 0,
  }
}

function isSuccess(result: SendResult): boolean {
  return result.outcome === 'answered' && result.status_code >= 200 && result.status_code < 300
}

async function judgeEndpoint(
  tx: Tx,
  kit: NotificationsKit,
  id: string,
  results: readonly SendResult[],
): Promise<void> {
  const endpoint = await lockEndpoint(tx, id)
  if (!endpoint) return
  const now = kit.clock.now()
  const is_gone = results.some((result) => result.outcome === 'answered' && result.status_code === GONE)
  const failing_since = results.some(isSuccess) ? null : (endpoint.failing_since ?? now)
  const is_failing = failing_since !== null && now.getTime() - failing_since.getTime() >= FAILING_MAX_MS
  if (endpoint.disabled_at === null && (is_gone || is_failing)) {
    const reason = is_gone ? 'gone' : 'failing'
    await updateEndpoint(tx, id, {
      failing_since,
      disabled_at: now,
      disabled_reason: reason,
      updated_at: now,
    })
    const disabled_at = now.toISOString()
    await kit.events.publish(tx, webhookEndpointDisabled, { webhook_endpoint_id: id, reason, disabled_at })
    kit.notice('a webhook endpoint was disabled', { webhook_endpoint_id: id, reason })
  } else if (failing_since?.getTime() !== endpoint.failing_since?.getTime()) {
    await updateEndpoint(tx, id, { failing_since })
  }
}
