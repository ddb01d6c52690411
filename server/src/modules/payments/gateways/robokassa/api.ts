import {
  GatewayMisconfigured,
  GatewayUnavailable,
  callVendor,
  clipText,
  hideSecrets,
  parseDecimal,
  present,
  readMoment,
} from '@kopilka/extension'
import type { GatewayContext, PaymentReference, VendorPayment, VendorPaymentStatus } from '@kopilka/extension'
import { isTest } from './config.ts'
import type { Config } from './config.ts'
import { signatureOf } from './sign.ts'
import { INVOICE_ID, ownFields } from './webhook.ts'

/** The calls of one operation share these. */
export interface Shop {
  config: Config
  context: GatewayContext
}

/** An operation as the status service tells it. `op_key` is what refunds go by. */
export interface Operation {
  payment: VendorPayment
  op_key?: string
}

const STATES = new Map<string, VendorPaymentStatus>([
  ['5', 'pending'],
  ['10', 'canceled'],
  ['20', 'authorized'],
  ['50', 'pending'],
  ['60', 'failed'],
  ['80', 'pending'],
  ['100', 'succeeded'],
])

/**
 * Reads one operation (OpStateExt). `undefined` when nobody has opened its page. Test payments are not
 * known to this service at all. Throws GatewayMisconfigured for a wrong password or shop, else
 * GatewayUnavailable.
 */
export async function readOperation(shop: Shop, reference: PaymentReference): Promise<Operation | undefined> {
  const { config } = shop
  const number = numberOf(reference)
  if (number === undefined) return undefined
  const query = new URLSearchParams({
    MerchantLogin: config.merchant_login,
    InvoiceID: number,
    Signature: signatureOf(config.hash, [config.merchant_login, number], config.password2),
  })
  const answer = await callVendor({
    method: 'GET',
    url: `${config.pay_url}/WebService/Service.asmx/OpStateExt?${query.toString()}`,
    timeout_ms: shop.context.timeout_ms,
  })
  const code = textIn(sectionOf(answer.text, 'Result'), 'Code')
  if (answer.status !== 200 || code === undefined) throw new GatewayUnavailable('unreadable answer')
  // The service does not know the test passwords either.
  if (code === '3' || (config.is_test && code === '1')) return undefined
  if (code === '1' || code === '2') {
    throw new GatewayMisconfigured(code === '1' ? 'wrong password 2 or hash algorithm' : 'shop not found')
  }
  if (code !== '0') throw new GatewayUnavailable(`result code ${clipText(code, 10)}`)
  return toOperation(shop, answer.text, { reference, number })
}

/** The order number at the vendor, which is also its id there; `undefined` for what cannot be one. */
export function numberOf(reference: PaymentReference): string | undefined {
  const number = reference.external_id ?? String(reference.payment_number)
  return INVOICE_ID.test(number) ? number : undefined
}

/**
 * Posts a form and answers the text. A page instead of words is no answer; a status from 400 is a refusal.
 */
export async function postForm(
  { config, context }: Shop,
  path: string,
  fields: Readonly<Record<string, string>>,
): Promise<{ text: string; is_refused: boolean }> {
  const answer = await callVendor({
    method: 'POST',
    url: config.pay_url + path,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(fields).toString(),
    timeout_ms: context.timeout_ms,
  })
  const text = answer.text.trim()
  if (/^<(?:!doctype|html)/i.test(text)) throw new GatewayUnavailable('unreadable answer')
  return { text, is_refused: answer.status >= 400 }
}

/** The vendor's words, short and without our passwords. */
export function wordsOf({ config }: Shop, text: string): string {
  const secrets = [config.password1, config.password2, config.password3 ?? '']
  const words = hideSecrets(text, secrets).replaceAll(/\s+/g, ' ').trim()
  return clipText(words === '' ? 'refused without a word' : words, 200)
}

function toOperation(
  { config }: Shop,
  xml: string,
  asked: { reference: PaymentReference; number: string },
): Operation {
  const state = sectionOf(xml, 'State')
  const info = sectionOf(xml, 'Info')
  const code = textIn(state, 'Code') ?? ''
  const status = STATES.get(code) ?? 'pending'
  const has_money = status === 'succeeded' || status === 'authorized'
  const paid = parseDecimal(textIn(info, 'IncSum') ?? '', 2)
  if (has_money && paid === undefined) throw new GatewayUnavailable('a payment without a sum')
  const received = parseDecimal(textIn(info, 'OutSum') ?? '', 2)
  const card = /(\d{4})$/.exec(textIn(info, 'IncAccount') ?? '')?.[1]
  const number = asked.number
  const payment: VendorPayment = {
    external_id: number,
    payment_number: Number(number),
    status,
    amount: has_money && paid !== undefined ? paid : asked.reference.amount,
    currency: 'RUB',
    is_test: isTest(config),
    ...ownFields(number, userFields(xml), card === undefined ? undefined : `•••• ${card}`),
    ...present({
      // What arrives at the shop is `OutSum`; what the buyer paid is `IncSum`.
      fee:
        status === 'succeeded' && paid !== undefined && received !== undefined && received <= paid
          ? paid - received
          : undefined,
      failure_reason: status === 'canceled' || status === 'failed' ? `state_${code}` : undefined,
      paid_at: status === 'succeeded' ? readMoment(textIn(state, 'StateDate')) : undefined,
    }),
  }
  return { payment, ...present({ op_key: textIn(info, 'OpKey') }) }
}

function userFields(xml: string): Record<string, string> {
  const fields = [...sectionOf(xml, 'UserField').matchAll(/<Field(?:\s[^>]*)?>([^]*?)<\/Field>/g)]
  return Object.fromEntries(
    fields.slice(0, 50).map(([, field = '']) => [textIn(field, 'Name') ?? '', textIn(field, 'Value') ?? '']),
  )
}

function sectionOf(xml: string, name: string): string {
  const start = xml.search(new RegExp(`<${name}(?:\\s[^>]*)?>`))
  const end = xml.indexOf(`</${name}>`, start)
  return start === -1 || end === -1 ? '' : xml.slice(start, end)
}

/** Text of the first element of this name. The vendor's values need no more than the five entities of XML. */
function textIn(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}(?:\\s[^>]*)?>([^<]*)</${name}>`).exec(xml)?.[1]?.trim()
  if (text === undefined || text === '') return undefined
  const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
  return text.replaceAll(/&(lt|gt|quot|apos|amp);/g, (_whole, entity: string) => entities[entity] ?? '')
}
