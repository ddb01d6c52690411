import { createHmac } from 'node:crypto'
import type { Forgery, Notification } from '../emulator.ts'
import { newId } from './objects.ts'
import type { World } from './objects.ts'

/** The header's value: the newest secret's proof first. */
export function sign(secrets: readonly string[], body: string, sent_at: Date): string {
  const time = Math.floor(sent_at.getTime() / 1000)
  const proofs = secrets.map(
    (secret) => `h1=${createHmac('sha256', secret).update(`${time}:${body}`).digest('hex')}`,
  )
  return [`ts=${time}`, ...proofs].join(';')
}

/** Tells the seller; the entity is copied as it is at this moment. */
export function tell(world: World, type: string, entity: { id: string }): void {
  const body = bodyOf(world, type, entity)
  const secrets = () => {
    const { webhook_secret, old_webhook_secret } = world.kit.settings()
    return old_webhook_secret === '' ? [webhook_secret] : [webhook_secret, old_webhook_secret]
  }
  world.kit.notify({
    object_id: entity.id,
    event: type,
    body,
    headers: (sent_at) => headers(sign(secrets(), body, sent_at)),
  })
}

function bodyOf(world: World, event_type: string, data: object): string {
  const event_id = newId(world, 'evt')
  const occurred_at = world.kit.now().toISOString()
  return JSON.stringify({ event_id, event_type, occurred_at, notification_id: newId(world, 'ntf'), data })
}

function headers(signature: string | undefined): Record<string, string> {
  return {
    'content-type': 'application/json',
    ...(signature === undefined ? {} : { 'paddle-signature': signature }),
  }
}

/** Lies anyone can tell without the secret, and truths of another time. */
export function forge(world: World, object_id: string, real: Notification | undefined): Forgery[] {
  const entity = world.transactions.get(object_id) ?? world.adjustments.get(object_id)
  if (!entity) return []
  const is_transaction = object_id.startsWith('txn_')
  const event = is_transaction ? 'transaction.completed' : 'adjustment.updated'
  const status = is_transaction ? 'completed' : 'approved'
  const claim = bodyOf(world, event, { ...entity, status })
  const now = world.kit.now()
  const { webhook_secret } = world.kit.settings()
  const lie = (note: string, body: string, signature: string | undefined): Forgery => ({
    object_id,
    event,
    body,
    note,
    headers: headers(signature),
  })
  const lies = [
    lie('not so, signed with another secret', claim, sign(['pdl_ntfset_somebody_elses'], claim, now)),
    lie('no signature', claim, undefined),
    lie('signed with an empty secret', claim, sign([''], claim, now)),
    lie('signed with the API key', claim, sign([world.kit.settings().api_key], claim, now)),
  ]
  if (real?.body === undefined) return lies
  const more = real.body.replaceAll(/"total":"(\d+)"/g, '"total":"9$1"')
  const hour = 3_600_000
  return [
    ...lies,
    lie('totals of another size under the true signature', more, sign([webhook_secret], real.body, now)),
    lie('a truth an hour old', real.body, sign([webhook_secret], real.body, new Date(now.getTime() - hour))),
    lie(
      'a truth an hour ahead',
      real.body,
      sign([webhook_secret], real.body, new Date(now.getTime() + hour)),
    ),
  ]
}
