import { createHash, createHmac } from 'node:crypto'
import type { Forgery, Notification } from '../emulator.ts'
import type { Invoice, World } from './objects.ts'

/** `crypto-pay-api-signature`: the key is the digest of the token, as raw bytes. */
export function sign(token: string, body: string): string {
  const key = createHash('sha256').update(token).digest()
  return createHmac('sha256', key).update(body).digest('hex')
}

/** The only event there is. The body, with its time, is the same at every attempt. */
export function tell(world: World, invoice: Invoice): void {
  const body = update(world, invoice, world.kit.now())
  world.kit.notify(notification(invoice, body, sign(world.kit.settings().token, body)))
}

function update(world: World, invoice: Invoice, at: Date): string {
  world.last_id += 1
  const fields = { update_id: world.last_id, update_type: 'invoice_paid', request_date: at.toISOString() }
  return JSON.stringify({ ...fields, payload: invoice })
}

function notification(invoice: Invoice, body: string, signature: string | undefined): Notification {
  const headers = {
    'content-type': 'application/json',
    ...(signature === undefined ? {} : { 'crypto-pay-api-signature': signature }),
  }
  return { object_id: String(invoice.invoice_id), event: 'invoice_paid', headers, body }
}

/** Lies anyone can tell without the token, and a truth of yesterday. */
export function forge(world: World, object_id: string, real: Notification | undefined): Forgery[] {
  const invoice = world.invoices.get(object_id)
  if (!invoice) return []
  const now = world.kit.now()
  const { token } = world.kit.settings()
  const paid: Invoice = { ...invoice, status: 'paid', paid_at: now.toISOString() }
  const claim = update(world, paid, now)
  const lie = (note: string, body: string, signature: string | undefined): Forgery => ({
    ...notification(invoice, body, signature),
    note,
  })
  const lies = [
    lie('not paid, signed with another token', claim, sign('1:AASomebodyElsesToken', claim)),
    lie('no signature', claim, undefined),
    lie('signed with an empty token', claim, sign('', claim)),
    lie(
      'signed with the token itself as the key',
      claim,
      createHmac('sha256', token).update(claim).digest('hex'),
    ),
  ]
  if (real?.body === undefined) return lies
  const more = real.body.replace(/"amount":"([^"]*)"/, '"amount":"9$1"')
  const old = update(world, paid, new Date(now.getTime() - 86_400_000))
  return [
    ...lies,
    lie('another amount under the true signature', more, sign(token, real.body)),
    lie('a true update of yesterday', old, sign(token, old)),
  ]
}
