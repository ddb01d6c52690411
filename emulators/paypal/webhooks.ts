import { sign as signBytes, verify, X509Certificate } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Forgery, Notification } from '../emulator.ts'
import { signerOf } from './certificate.ts'
import { newId, nowText } from './objects.ts'
import type { WebhookEvent, World } from './objects.ts'

const SIGNER_NAME = 'messageverificationcerts.sandbox.paypal.com'
const STRANGER_NAME = 'messageverificationcerts.paypal.com.example.org'
const CERTIFICATE_PATH = '/v1/notifications/certs/CERT-EMULATOR-1'
const STRANGER_PATH = '/somewhere/else/CERT-EMULATOR-2'
const DAY_MS = 86_400_000

/** The certificates by their paths, made when asked for: the vendor's own, and one of somebody else. */
export const CERTIFICATES: Readonly<Record<string, () => string>> = {
  [CERTIFICATE_PATH]: () => signerOf(SIGNER_NAME).pem,
  [STRANGER_PATH]: () => signerOf(STRANGER_NAME).pem,
}

/** Tells the merchant; the resource is copied as it is at this moment. */
export function tell(
  world: World,
  event_type: string,
  about: { resource_type: string; resource: object; object_id: string },
): void {
  const event = eventOf(world, event_type, about)
  world.events.add(event.id, event)
  const { event_types } = world.webhook
  if (!event_types.some(({ name }) => name === '*' || name === event_type)) return
  const body = JSON.stringify(event)
  world.kit.notify({
    object_id: about.object_id,
    event: event_type,
    body,
    // The time of the first attempt stays with every repeat.
    headers: headersOf(world, body),
  })
}

function eventOf(
  world: World,
  event_type: string,
  { resource_type, resource }: { resource_type: string; resource: object },
): WebhookEvent {
  const id = `WH-${newId(world)}-${newId(world)}`
  const href = `${world.kit.base_url()}/v1/notifications/webhooks-events/${id}`
  return {
    id,
    event_version: '1.0',
    create_time: nowText(world),
    resource_type,
    resource_version: '2.0',
    event_type,
    summary: `${resource_type}: ${event_type}`,
    resource: structuredClone(resource),
    links: [{ href, rel: 'self', method: 'GET' }],
  }
}

export interface Signing {
  webhook_id?: string
  at?: Date
  stranger?: boolean
  certificate_url?: string
}

/** The five headers over these bytes. */
export function headersOf(world: World, body: string, signing: Signing = {}): Record<string, string> {
  const { webhook_id = world.kit.settings().webhook_id, at = world.kit.now(), stranger = false } = signing
  const id = world.kit.random.uuid()
  const time = at.toISOString().replace(/\.\d+Z$/, 'Z')
  const message = `${id}|${time}|${webhook_id}|${crc32(Buffer.from(body))}`
  const { key } = signerOf(stranger ? STRANGER_NAME : SIGNER_NAME)
  const path = stranger ? STRANGER_PATH : CERTIFICATE_PATH
  return {
    'content-type': 'application/json',
    'user-agent': 'PayPal/AUHD-214.0-58292151',
    'paypal-transmission-id': id,
    'paypal-transmission-time': time,
    'paypal-transmission-sig': signBytes('RSA-SHA256', Buffer.from(message), key).toString('base64'),
    'paypal-cert-url': signing.certificate_url ?? `${world.kit.base_url()}${path}`,
    'paypal-auth-algo': 'SHA256withRSA',
  }
}

/** The vendor's own look at what somebody says it sent. */
export function isOurs(world: World, said: Record<string, unknown>, event_text: string): boolean {
  const { transmission_id, transmission_time, transmission_sig, webhook_id, auth_algo } = said
  if (webhook_id !== world.kit.settings().webhook_id || auth_algo !== 'SHA256withRSA') return false
  const message = [transmission_id, transmission_time, webhook_id, crc32(Buffer.from(event_text))].join('|')
  const key = new X509Certificate(signerOf(SIGNER_NAME).pem).publicKey
  return verify('RSA-SHA256', Buffer.from(message), key, Buffer.from(String(transmission_sig), 'base64'))
}

/** Lies anyone can tell without the vendor's key, and truths of another time. */
export function forge(world: World, object_id: string, real: Notification | undefined): Forgery[] {
  const claimed = claimOf(world, object_id)
  if (!claimed) return []
  const claim = JSON.stringify(claimed)
  const lie = (note: string, body: string, headers: Record<string, string>): Forgery => ({
    object_id,
    event: claimed.event_type,
    body,
    note,
    headers,
  })
  const own = `${world.kit.base_url()}${CERTIFICATE_PATH}`
  const { 'paypal-transmission-sig': _sig, ...unsigned } = headersOf(world, claim)
  const lies = [
    lie(
      'not paid, signed by a certificate of somebody else',
      claim,
      headersOf(world, claim, { stranger: true }),
    ),
    lie('signed by somebody else, naming the true certificate', claim, {
      ...headersOf(world, claim, { stranger: true, certificate_url: own }),
    }),
    lie('no signature', claim, unsigned),
    lie('signed for the simulator', claim, headersOf(world, claim, { webhook_id: 'WEBHOOK_ID' })),
    lie('signed for another webhook', claim, headersOf(world, claim, { webhook_id: newId(world) })),
    lie('a certificate from another host', claim, {
      ...headersOf(world, claim, { certificate_url: `http://evil.example${CERTIFICATE_PATH}` }),
    }),
  ]
  if (real?.body === undefined || typeof real.headers !== 'object') return lies
  const more = real.body.replaceAll(/"value":"(\d)/g, '"value":"9$1')
  const now = world.kit.now().getTime()
  return [
    ...lies,
    lie('another amount under the true signature', more, { ...real.headers }),
    lie(
      'a truth of two months ago',
      real.body,
      headersOf(world, real.body, { at: new Date(now - 60 * DAY_MS) }),
    ),
    lie('a truth of tomorrow', real.body, headersOf(world, real.body, { at: new Date(now + DAY_MS) })),
  ]
}

function claimOf(world: World, object_id: string): WebhookEvent | undefined {
  const order = world.orders.get(object_id)?.order ?? world.captures.get(object_id)?.order
  const unit = order?.purchase_units[0]
  if (!order || !unit) return undefined
  const resource = {
    id: newId(world),
    status: 'COMPLETED',
    amount: unit.amount,
    custom_id: unit.custom_id,
    invoice_id: unit.invoice_id,
    final_capture: true,
    supplementary_data: { related_ids: { order_id: order.id } },
  }
  return eventOf(world, 'PAYMENT.CAPTURE.COMPLETED', { resource_type: 'capture', resource })
}
