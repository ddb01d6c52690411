import { createDecipheriv, createHash } from 'node:crypto'
import { present, readJsonBody, readMoment } from '@kopilka/extension'
import type { VendorEvent, WebhookRequest, WebhookResult } from '@kopilka/extension'
import { z } from 'zod'
import { readAesKey, strictBase64 } from './config.ts'
import type { Config } from './config.ts'
import { INVOICE_ID } from './objects.ts'

const IV_BYTES = 12
const TAG_BYTES = 16

const Envelope = z.object({ payload: z.string().max(200_000) })
const Content = z.object({
  notification_type: z.string().regex(/^[A-Z_]{1,60}$/),
  app_id: z.union([z.number().int(), z.string()]).transform(String),
  data: z.string(),
})
const Id = z.union([z.string(), z.number().int()]).transform(String)
const InvoiceStatus = z.object({
  invoice_id: Id.refine((id) => INVOICE_ID.test(id)),
  status_new: z.string().max(40),
  change_status_time: z.string().optional(),
})
const SubscriptionEvent = z.object({
  purchase_id: z.string().regex(/^[\w-]{1,64}$/),
  product_code: z.string().max(150).optional(),
  subscription_event_type: z.string().max(40),
  event_time: z.string().optional(),
})

/**
 * Opens a notification: AES-256-GCM with the shop's key is the only proof, there is no other signature. It
 * holds no amount, so the core reads the invoice again; a repeat of an old one tells nothing new, and no
 * age is too old (the vendor repeats for 36 hours). Events of the other mode and of kinds we do not know
 * are accepted and name nothing, or the vendor would repeat them. Never throws.
 */
export function parseWebhook(config: Config, request: WebhookRequest): WebhookResult {
  if (request.method !== 'POST') return refused('not a POST')
  const envelope = Envelope.safeParse(readJsonBody(request))
  if (!envelope.success) return refused('not a notification')
  const text = decrypt(config, envelope.data.payload)
  if (text === undefined) return refused('not encrypted with the key of this app')
  const content = Content.safeParse(readJson(text))
  if (!content.success) return refused('not a notification')
  if (content.data.app_id !== config.app_id) return refused('another app')
  const { notification_type } = content.data
  const is_sandbox = notification_type.endsWith('_SANDBOX')
  if (is_sandbox !== config.sandbox) return { verdict: 'accepted', events: [] }
  // The envelope's id is not encrypted: the event's own bytes name it.
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 40)
  const events = toEvents(notification_type.replace(/_SANDBOX$/, ''), readJson(content.data.data), digest)
  return events === undefined ? refused('unreadable data') : { verdict: 'accepted', events }
}

/** None for kinds we do not know; `undefined` when a kind we know cannot be read. */
function toEvents(type: string, data: unknown, digest: string): VendorEvent[] | undefined {
  const base = { external_event_id: `${type.toLowerCase()}:${digest}`, trust: 'signed' } as const
  if (type === 'INVOICE_STATUS') {
    const { success, data: told } = InvoiceStatus.safeParse(data)
    if (!success) return undefined
    const occurred_at = readMoment(told.change_status_time)
    const word = told.status_new.toUpperCase()
    const payment: VendorEvent = {
      ...base,
      kind: 'payment',
      type: `${type} ${word}`,
      external_id: told.invoice_id,
      ...present({ occurred_at }),
    }
    return word === 'REFUNDED' ? [payment, refundOf(payment, told.invoice_id)] : [payment]
  }
  if (type !== 'SUBSCRIPTION_EVENT') return []
  const { success, data: told } = SubscriptionEvent.safeParse(data)
  if (!success) return undefined
  const occurred_at = readMoment(told.event_time)
  const event: VendorEvent = {
    ...base,
    kind: 'subscription',
    type: `${type} ${told.subscription_event_type}`,
    external_id: told.purchase_id,
    data: { ...(data as Record<string, unknown>) },
    ...present({ occurred_at, product_code: told.product_code }),
  }
  return [event]
}

/** A refund made in the console is told by the invoice alone. */
function refundOf({ external_event_id, trust, type }: VendorEvent, invoice_id: string): VendorEvent {
  return {
    external_event_id: `${external_event_id}:refund`,
    trust,
    type,
    kind: 'refund',
    external_id: `invoice:${invoice_id}`,
    payment_external_id: invoice_id,
  }
}

/** 12 bytes of nonce, the text, 16 bytes of tag; no further data. `undefined` when the tag is wrong. */
export function decrypt(config: Pick<Config, 'notification_key'>, payload: string): string | undefined {
  const key = readAesKey(config.notification_key)
  const bytes = strictBase64(payload)
  if (key === undefined || bytes === undefined || bytes.length < IV_BYTES + TAG_BYTES) return undefined
  const iv = bytes.subarray(0, IV_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES })
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    const text = [decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(text))
  } catch {
    // A wrong tag is the common case of a forgery or a foreign key.
    return undefined
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function refused(reason: string): WebhookResult {
  return { verdict: 'refused', status: 400, reason }
}
