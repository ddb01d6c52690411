import { parseDecimal, present } from '@kopilka/extension'
import type { GatewayContext, VendorPayment, WebhookRequest, WebhookResult } from '@kopilka/extension'
import { z } from 'zod'
import { isTest } from './config.ts'
import type { Config } from './config.ts'
import { isSignature, openJws, signatureOf } from './sign.ts'

const BODY_MAX_BYTES = 65_536
const FIELDS_MAX = 100
/** Integers of 32 bits: what we use as order numbers. */
export const INVOICE_ID = /^[1-9]\d{0,9}$/
const OUR_ID = /^[a-z]{2,8}_[0-9a-z]{1,40}$/
const WINDOW_MS = 300_000

const StateNotification = z.object({
  header: z.object({ type: z.literal('PaymentStateNotification'), timestamp: z.string().regex(/^\d{10}$/) }),
  data: z.object({
    shop: z.string(),
    opKey: z.string().min(1).max(100).regex(/^\S+$/),
    invId: z.string().regex(INVOICE_ID),
    state: z.string().regex(/^[A-Z]{1,20}$/),
  }),
})

/**
 * Two kinds arrive at one address. ResultURL, a form with a hash over the raw strings, is the proof of a
 * payment and is believed; only what is signed in it is read (not the fee). ResultUrl2, a JWS, tells of
 * holds; the core reads the payment again. Never throws.
 */
export function parseWebhook(
  config: Config,
  request: WebhookRequest,
  context: GatewayContext,
): WebhookResult {
  if (request.method !== 'POST') return refused('not a POST')
  const text = readText(request.raw_body)
  if (text === undefined) return refused('not a text')
  return text.startsWith('eyJ') ? readState(config, text, context) : readResult(config, text)
}

function readResult(config: Config, text: string): WebhookResult {
  const fields = readForm(text)
  if (!fields) return refused('not a form')
  const { shp, plain } = fields
  const [sum = '', number = '', given = ''] = [
    plain['outsum'],
    plain['invid'] ?? plain['inv_id'],
    plain['signaturevalue'],
  ]
  if (!isSignature(given, signatureOf(config.hash, [sum, number], config.password2, shp))) {
    return refused('bad sign')
  }
  const amount = parseDecimal(sum, 2)
  if (amount === undefined || !INVOICE_ID.test(number))
    return refused('not an amount or not a number of ours')
  // The test pair of passwords signs test payments, so the mark can only contradict by a mistake of settings.
  if (plain['istest'] === '1' && !config.is_test) return refused('a test payment in a live shop')
  return {
    verdict: 'accepted',
    answer: { status: 200, content_type: 'text/plain', body: `OK${number}` },
    events: [
      {
        kind: 'payment',
        external_event_id: `result:${number}`,
        trust: 'signed',
        type: 'ResultURL',
        external_id: number,
        payment_number: Number(number),
        payment: paidPayment(config, { number, amount, shp }),
      },
    ],
  }
}

function paidPayment(
  config: Config,
  paid: { number: string; amount: bigint; shp: Readonly<Record<string, string>> },
): VendorPayment {
  const { number, amount, shp } = paid
  return {
    external_id: number,
    payment_number: Number(number),
    status: 'succeeded',
    amount,
    currency: 'RUB',
    is_test: isTest(config),
    ...ownFields(number, shp),
  }
}

/**
 * What our own fields, which the vendor gives back, say: the ids, and whether later charges were agreed
 * to.
 */
export function ownFields(number: string, shp: Readonly<Record<string, string>>, title = 'Bank card') {
  const ourId = (text: string | undefined) => (text !== undefined && OUR_ID.test(text) ? text : undefined)
  const saved = { external_id: number, kind: 'bank_card', title }
  return present({
    payment_id: ourId(shp['Shp_payment']),
    order_id: ourId(shp['Shp_order']),
    saved_method: shp['Shp_save'] === '1' ? saved : undefined,
  })
}

function readState(config: Config, text: string, context: GatewayContext): WebhookResult {
  if (config.result2_certificate === undefined) return refused('no certificate for signed notifications')
  const opened = openJws(text, config.result2_certificate)
  if (opened === undefined) return refused('bad sign')
  const { success, data: notification } = StateNotification.safeParse(opened)
  if (!success) return refused('not a notification')
  const { header, data } = notification
  const occurred_at = new Date(Number(`${header.timestamp}000`))
  if (Math.abs(context.now.getTime() - occurred_at.getTime()) > WINDOW_MS) return refused('not of this time')
  if (data.shop !== config.merchant_login) return refused('another shop')
  // The vendor sends none of these in test mode.
  if (config.is_test) return refused('a live notification in test mode')
  return {
    verdict: 'accepted',
    events: [
      {
        kind: 'payment',
        external_event_id: `result2:${data.invId}:${data.state}:${data.opKey}`,
        trust: 'signed',
        type: `ResultUrl2 ${data.state}`,
        occurred_at,
        external_id: data.invId,
        payment_number: Number(data.invId),
      },
    ],
  }
}

interface Fields {
  /** By lower-case name: the vendor's spelling varies. */
  plain: Readonly<Record<string, string>>
  /** As spelt: the names are signed. */
  shp: Readonly<Record<string, string>>
}

/** `undefined` when a name comes twice: then it is not clear which value was signed. */
function readForm(text: string): Fields | undefined {
  const entries = [...new URLSearchParams(text)]
  const names = new Set(entries.map(([name]) => name.toLowerCase()))
  if (names.size !== entries.length || entries.length > FIELDS_MAX) return undefined
  const is_own = ([name]: [string, string]) => /^shp_/i.test(name)
  const plain = entries
    .filter((entry) => !is_own(entry))
    .map(([name, value]): [string, string] => [name.toLowerCase(), value])
  return { plain: Object.fromEntries(plain), shp: Object.fromEntries(entries.filter(is_own)) }
}

function readText(body: Buffer): string | undefined {
  if (body.length === 0 || body.length > BODY_MAX_BYTES) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    return undefined
  }
}

function refused(reason: string): WebhookResult {
  return { verdict: 'refused', status: 400, reason }
}
