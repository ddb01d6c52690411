import { VAT_RATES, clipText, defineGateway, present, secretField } from '@kopilka/extension'
import type { PaymentReference, VendorPayment, VendorPaymentStatus } from '@kopilka/extension'
import { z } from 'zod'
import { isReturnUrl, sandboxLinkUrl } from './sandbox/link.ts'
import { parseNotification } from './sandbox/notification.ts'

const configSchema = z.object({
  secret: secretField('Secret that signs the page and its notifications'),
  later_seconds: z
    .int()
    .min(1)
    .max(3600)
    .default(15)
    .meta({ title: 'Delay of the button "Pay, tell later", s' }),
})

/** What the owner fills in: nothing but a secret of their own making. */
export type SandboxConfig = z.infer<typeof configSchema>

/** A saved method whose charges are declined: for trying out past-due renewals. */
export const DECLINING_METHOD = 'sbxm_declines_'
/** A saved method whose charges succeed. */
export const PAYING_METHOD = 'sbxm_pays_'

/**
 * The built-in sandbox: no money, no outside process. The buyer pays on a page of this Kopilka, whose buttons
 * send signed notifications to its own webhook. It remembers nothing, so the notification is the only word
 * about a payment: `getPayment` can only answer `pending`, and a payment whose notification is lost lapses at
 * its deadline. Two-stage captures, refunds, receipts and charges of saved methods succeed at once, with ids
 * derived from ours. A single refund larger than its payment fails; the sum of several is the core's to
 * guard.
 */
export default defineGateway<SandboxConfig>({
  id: 'sandbox',
  title: 'Sandbox',
  currencies: ['RUB', 'USD', 'EUR', 'GBP', 'KZT', 'BYN', 'UZS', 'AMD', 'GEL', 'TRY', 'XTR'],
  configSchema,
  isTest: () => true,

  async createPayment(config, input, context) {
    if (!isReturnUrl(input.return_url))
      return { status: 'failed', failure_reason: 'return_url_not_supported' }
    const { payment_id, payment_number, order_id, amount, currency } = input
    const { return_url, capture, save_method, locale, expires_at } = input
    const checkout_url = sandboxLinkUrl(config.secret, context.base_url, {
      payment_id,
      payment_number,
      order_id,
      amount,
      currency,
      description: clipText(input.description, 200),
      return_url,
      capture,
      save_method,
      locale,
      expires_at,
    })
    return { status: 'pending', external_id: externalId(payment_id), checkout_url }
  },

  async getPayment(_config, reference) {
    return toPayment(reference, 'pending')
  },

  parseWebhook(config, request, context) {
    return parseNotification(config.secret, request, context.now)
  },

  async capturePayment(_config, input, context) {
    return { ...toPayment(input, 'succeeded'), paid_at: context.now }
  },

  async cancelPayment(_config, reference) {
    return toPayment(reference, 'canceled')
  },

  async chargeSavedMethod(_config, input, context) {
    const pays = input.method_external_id.startsWith(PAYING_METHOD)
    if (!pays && !input.method_external_id.startsWith(DECLINING_METHOD)) {
      return { status: 'failed', failure_reason: 'method_not_found' }
    }
    const status = pays ? 'succeeded' : 'failed'
    const failure_reason = pays ? undefined : 'insufficient_funds'
    const paid_at = pays ? context.now : undefined
    const payment = { ...toPayment(input, status), ...present({ failure_reason, paid_at }) }
    return { status, external_id: payment.external_id, payment, ...present({ failure_reason }) }
  },

  async refund(_config, input) {
    const { refund_id, amount, currency, payment } = input
    const refund = { refund_id, payment_id: payment.payment_id, amount, currency, is_test: true }
    if (amount > payment.amount || currency !== payment.currency) {
      const failure_reason = 'more_than_was_paid'
      return { ...refund, external_id: `refused:${refund_id}`, status: 'failed', failure_reason }
    }
    return { ...refund, external_id: `sbxr_${refund_id}`, status: 'succeeded' }
  },

  /** Knows a refund only by the id it gave; without one the core may ask for the same refund again. */
  async getRefund(_config, reference) {
    const { refund_id, amount, currency, external_id } = reference
    if (external_id !== `sbxr_${refund_id}`) return undefined
    return { external_id, refund_id, amount, currency, status: 'succeeded', is_test: true }
  },

  /** There is no tax office here: receipts are made when the owner names the sandbox a fiscal gateway. */
  receipts: {
    isOn: () => true,
    carries: [],
    registers: ['payment', 'offset', 'refund'],
    tells: ['payment', 'offset', 'refund'],
    vats: VAT_RATES,
  },

  async createReceipt(_config, input) {
    return { external_id: `sbxc_${input.receipt_id}`, status: 'succeeded' }
  },

  /** Knows a receipt only by the id it gave; without one the core may register the same again. */
  async getReceipt(_config, { receipt_id, external_id }) {
    return external_id === `sbxc_${receipt_id}` ? { external_id, status: 'succeeded' } : undefined
  },

  async checkHealth() {
    return { ok: true, detail: 'built in, moves no money' }
  },
})

/** The sandbox's id of a payment: derived, so that the same payment always has the same. */
export function externalId(payment_id: string): string {
  return `sbx_${payment_id}`
}

function toPayment(
  reference: Pick<PaymentReference, 'payment_id' | 'payment_number' | 'amount' | 'currency'>,
  status: VendorPaymentStatus,
): VendorPayment {
  const { payment_id, payment_number, amount, currency } = reference
  return {
    external_id: externalId(payment_id),
    payment_id,
    payment_number,
    status,
    amount,
    currency,
    is_test: true,
  }
}
