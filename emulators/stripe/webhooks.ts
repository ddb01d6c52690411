import { createHmac } from 'node:crypto'
import type { Forgery, Notification } from '../emulator.ts'
import { isLive, newId, seconds } from './objects.ts'
import type { World } from './objects.ts'

/** The header's value: one proof per secret, the newest first, and the fake scheme of test mode. */
export function sign(secrets: readonly string[], body: string, sent_at: Date): string {
  const time = Math.floor(sent_at.getTime() / 1000)
  const proofs = secrets.map(
    (secret) => `v1=${createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')}`,
  )
  return [`t=${time}`, ...proofs, `v0=${'0'.repeat(64)}`].join(',')
}

/** Tells the merchant; the object is copied as it is at this moment. */
export function tell(world: World, type: string, object: { id: string }): void {
  world.kit.notify(notification(world, eventOf(world, type, object), object.id))
}

function eventOf(world: World, type: string, object: unknown): Record<string, unknown> & { type: string } {
  return {
    id: newId(world, 'evt'),
    object: 'event',
    api_version: '2026-10-28.endive',
    created: seconds(world),
    data: { object },
    livemode: isLive(world),
    pending_webhooks: 1,
    request: { id: newId(world, 'req'), idempotency_key: null },
    type,
  }
}

function notification(world: World, event: { type: string }, object_id: string): Notification {
  const body = JSON.stringify(event)
  return signed(world, body, { object_id, event: event.type })
}

function signed(world: World, body: string, about: { object_id: string; event: string }): Notification {
  const secrets = () => {
    const { webhook_secret, old_webhook_secret } = world.kit.settings()
    return old_webhook_secret === '' ? [webhook_secret] : [webhook_secret, old_webhook_secret]
  }
  return { ...about, body, headers: (sent_at) => headers(sign(secrets(), body, sent_at)) }
}

function headers(signature: string | undefined): Record<string, string> {
  return {
    'content-type': 'application/json; charset=utf-8',
    'user-agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
    ...(signature === undefined ? {} : { 'stripe-signature': signature }),
  }
}

/** Lies an attacker without the secret can tell, and a true event sent again much later. */
export function forge(world: World, object_id: string, real: Notification | undefined): Forgery[] {
  const session = world.sessions.get(object_id)?.session
  const object =
    session ?? world.intents.get(object_id) ?? world.refunds.get(object_id) ?? world.charges.get(object_id)
  if (!object) return []
  const paid = session
    ? eventOf(world, 'checkout.session.completed', { ...session, status: 'complete', payment_status: 'paid' })
    : eventOf(world, 'payment_intent.succeeded', { ...object, status: 'succeeded' })
  const claim = JSON.stringify(paid)
  const about = { object_id, event: paid.type }
  const now = world.kit.now()
  const lie = (note: string, body: string, signature: string | undefined): Forgery => ({
    ...about,
    body,
    note,
    headers: headers(signature),
  })
  const { webhook_secret } = world.kit.settings()
  const lies = [
    lie('not paid, signed with another secret', claim, sign(['whsec_somebody_elses_secret'], claim, now)),
    lie('no signature', claim, undefined),
    lie('signed with an empty secret', claim, sign([''], claim, now)),
    lie('only the fake scheme', claim, `t=${seconds(world)},v0=${'0'.repeat(64)}`),
  ]
  if (real?.body === undefined) return lies
  const altered = real.body.replace(/"amount(_total|_received)?":(\d+)/g, '"amount$1":$200')
  const old = new Date(now.getTime() - 3_600_000)
  return [
    ...lies,
    lie('amounts times 100 under the true signature', altered, sign([webhook_secret], real.body, now)),
    lie('a true event an hour old', real.body, sign([webhook_secret], real.body, old)),
    lie(
      'a true event an hour ahead',
      real.body,
      sign([webhook_secret], real.body, new Date(now.getTime() + 3_600_000)),
    ),
  ]
}
