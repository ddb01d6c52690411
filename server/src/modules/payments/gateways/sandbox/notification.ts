import { createHmac } from 'node:crypto'
import { present, readJsonBody, readMoment, sameBytes, singleHeader } from '@kopilka/extension'
import type { VendorPayment, WebhookRequest, WebhookResult } from '@kopilka/extension'
import { z } from 'zod'

/** The header of a sandbox notification: `t=<seconds>,v1=<hex HMAC-SHA256 of "t.body">`. */
export const SIGNATURE_HEADER = 'sandbox-signature'
const SIGNATURE = /^t=(\d{10,12}),v1=([0-9a-f]{64})$/
/** How far a notification's time may lie from ours, on either side: beyond it is a replay or a forgery. */
const WINDOW_MS = 300_000n

const SandboxEvent = z.object({
  id: z.string().min(1).max(200),
  type: z.enum(['payment.succeeded', 'payment.authorized', 'payment.failed']),
  created_at: z.iso.datetime(),
  payment: z.object({
    id: z.string().min(1).max(200),
    payment_id: z.string().min(1).max(64),
    payment_number: z.int().nonnegative(),
    order_id: z.string().min(1).max(64),
    status: z.enum(['succeeded', 'authorized', 'failed']),
    amount: z.string().regex(/^\d{1,18}$/),
    currency: z.string().regex(/^[A-Z]{3}$/),
    failure_reason: z.string().max(64).optional(),
    paid_at: z.iso.datetime().optional(),
    saved_method: z.object({ id: z.string().max(200), title: z.string().max(200) }).optional(),
  }),
})

/** The body of a sandbox notification: our own vendor's event. Amounts are minor units as text. */
export type SandboxEvent = z.infer<typeof SandboxEvent>

/** The signature header's value for a body that will be sent at this moment. */
export function signNotification(secret: string, body: string | Uint8Array, sent_at: Date): string {
  const time = String(Math.floor(sent_at.getTime() / 1000))
  return `t=${time},v1=${mac(secret, time, body)}`
}

/**
 * Verifies a notification on its raw bytes. It was made by this Kopilka itself, so the payment in it is
 * believed. Refuses a missing, repeated or wrong signature, a time more than 300 s away on either side, and
 * any body that is not an event. Never throws.
 */
export function parseNotification(secret: string, request: WebhookRequest, now: Date): WebhookResult {
  const match = SIGNATURE.exec(singleHeader(request, SIGNATURE_HEADER) ?? '')
  if (!match) return refused(401, 'no signature')
  const [, time = '', given = ''] = match
  if (!sameBytes(given, mac(secret, time, request.raw_body))) return refused(401, 'wrong signature')
  if (!isOfMoment(time, now)) return refused(401, 'not of this moment')
  const event = SandboxEvent.safeParse(readJsonBody(request))
  if (!event.success) return refused(400, 'not an event')
  return { verdict: 'accepted', events: [toEvent(event.data)] }
}

function toEvent(event: SandboxEvent) {
  const payment = toPayment(event.payment)
  const { external_id } = payment
  return {
    kind: 'payment',
    trust: 'signed',
    external_event_id: event.id,
    type: event.type,
    external_id,
    payment_id: event.payment.payment_id,
    payment_number: event.payment.payment_number,
    payment,
    ...present({ occurred_at: readMoment(event.created_at) }),
  } as const
}

function toPayment(payment: SandboxEvent['payment']): VendorPayment {
  const { payment_id, payment_number, order_id, status, currency, failure_reason, saved_method } = payment
  return {
    external_id: payment.id,
    payment_id,
    payment_number,
    order_id,
    status,
    amount: BigInt(payment.amount),
    currency,
    is_test: true,
    ...present({
      failure_reason,
      paid_at: readMoment(payment.paid_at),
      saved_method: saved_method && { external_id: saved_method.id, kind: 'card', title: saved_method.title },
    }),
  }
}

function isOfMoment(seconds: string, now: Date): boolean {
  const away_ms = BigInt(now.getTime()) - BigInt(seconds) * 1000n
  return away_ms >= -WINDOW_MS && away_ms <= WINDOW_MS
}

function mac(secret: string, time: string, body: string | Uint8Array): string {
  return createHmac('sha256', secret).update(`${time}.`).update(body).digest('hex')
}

function refused(status: 400 | 401, reason: string): WebhookResult {
  return { verdict: 'refused', status, reason }
}
