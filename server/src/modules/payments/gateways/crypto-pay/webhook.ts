import { createHash, createHmac } from 'node:crypto'
import { present, readJsonBody, readMoment, sameBytes, singleHeader } from '@kopilka/extension'
import type { WebhookRequest, WebhookResult } from '@kopilka/extension'
import { z } from 'zod'
import type { Config } from './config.ts'
import { ourIds } from './objects.ts'

const SIGNATURE_HEADER = 'crypto-pay-api-signature'
/** How far the signed time may lie from ours, on either side: beyond it is a replay or a forgery. */
const WINDOW_MS = 300_000

const Update = z.object({
  update_id: z.int(),
  update_type: z.string().regex(/^[a-z_]{1,64}$/),
  request_date: z.string(),
  payload: z.looseObject({}),
})
const Invoice = z.object({
  invoice_id: z.int().positive(),
  payload: z.string().optional(),
  paid_at: z.string().optional(),
})

/**
 * Verifies an update on its raw bytes: the key is the digest of the token, the time is in the signed body.
 * The invoice in it is not believed but read again. A repeat that comes too late is refused; the payment is
 * then found by polling. Never throws.
 */
export function parseWebhook(config: Config, request: WebhookRequest, now: Date): WebhookResult {
  const given = singleHeader(request, SIGNATURE_HEADER) ?? ''
  const key = createHash('sha256').update(config.token).digest()
  const expected = createHmac('sha256', key).update(request.raw_body).digest('hex')
  if (!sameBytes(given, expected)) return refused(401, 'wrong signature')
  const update = Update.safeParse(readJsonBody(request))
  const sent_at = readMoment(update.data?.request_date)
  if (!update.success || !sent_at) return refused(400, 'not an update')
  if (Math.abs(now.getTime() - sent_at.getTime()) > WINDOW_MS) return refused(401, 'not of this moment')
  const { update_type: type } = update.data
  if (type !== 'invoice_paid') return { verdict: 'accepted', events: [] }
  const invoice = Invoice.safeParse(update.data.payload)
  if (!invoice.success) return refused(400, 'not an invoice')
  const external_id = String(invoice.data.invoice_id)
  const { payment_id } = ourIds(invoice.data.payload)
  const occurred_at = readMoment(invoice.data.paid_at)
  const event = { kind: 'payment', trust: 'signed', type, external_id } as const
  const external_event_id = `${type}:${external_id}`
  return {
    verdict: 'accepted',
    events: [{ ...event, external_event_id, ...present({ payment_id, occurred_at }) }],
  }
}

function refused(status: 400 | 401, reason: string): WebhookResult {
  return { verdict: 'refused', status, reason }
}
