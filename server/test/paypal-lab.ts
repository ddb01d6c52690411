import type { Capture, Order } from '@kopilka/emulators/paypal'
import { startPaypalEmulator } from '@kopilka/emulators/paypal'
import type { Emulator } from '@kopilka/emulators/emulator'
import type { CreatePaymentInput, PaymentReference, VendorPayment } from '@kopilka/extension'
import paypal from '../src/modules/payments/gateways/paypal.ts'
import { newContext, newId } from './gateway-contract.ts'

/** Made up here, valid nowhere. */
export const PAYPAL_APP = {
  client_id: 'AcanaryClient0123456789abcdef',
  client_secret: 'EcanarySecret0123456789abcdef',
  webhook_id: '8PT597110X687430L',
}

type PaypalConfig = Parameters<typeof paypal.isTest>[0]
type Reference = PaymentReference & { external_id: string; order_id: string }

/** An account at the PayPal emulator, and what a test does with it again and again. */
export interface PaypalLab {
  emulator: Emulator
  context: ReturnType<typeof newContext>
  configOf: (changes?: object) => PaypalConfig
  /** What was posted to this path, newest last. */
  sentTo: (path: string) => Record<string, unknown>[]
  /** How many access tokens were asked for. */
  sentTokens: () => number
  orders: () => Order[]
  captures: () => Capture[]
  /** An order the vendor has made and nobody has approved. */
  created: (input?: CreatePaymentInput) => Promise<Reference>
  read: (reference: PaymentReference) => Promise<VendorPayment | undefined>
  /** Approved by the buyer, and captured or held by our reading it. */
  paid: (input?: CreatePaymentInput) => Promise<{ reference: Reference; payment: VendorPayment }>
}

/** Starts the emulator; the caller closes it. */
export async function openPaypal(): Promise<PaypalLab> {
  const emulator = await startPaypalEmulator({ settings: PAYPAL_APP })
  const context = newContext()
  const configOf = (changes: object = {}) =>
    paypal.configSchema.parse({
      ...PAYPAL_APP,
      environment: 'sandbox',
      base_url: emulator.base_url,
      ...changes,
    })
  const created = async (input = purchase()) => {
    const { external_id, failure_reason } = await paypal.createPayment(configOf(), input, context)
    if (external_id === undefined) throw new Error(`the payment was refused: ${failure_reason}`)
    return { ...input, external_id }
  }
  const read = (reference: PaymentReference) => paypal.getPayment(configOf(), reference, context)
  return {
    emulator,
    context,
    configOf,
    created,
    read,
    sentTo(path) {
      const { items } = emulator.control.log({ limit: 1000, kind: 'request', order: 'asc' })
      return items
        .filter((request) => request.path === path && request.method === 'POST')
        .map(({ body = '{}' }) => JSON.parse(body) as Record<string, unknown>)
    },
    sentTokens() {
      const { items } = emulator.control.log({ limit: 1000, kind: 'request' })
      return items.filter(({ path }) => path === '/v1/oauth2/token').length
    },
    orders: () => emulator.control.objects({ collection: 'orders' }).items as Order[],
    captures: () => emulator.control.objects({ collection: 'captures' }).items as Capture[],
    async paid(input = purchase()) {
      const reference = await created(input)
      emulator.control.complete(reference.external_id, input.capture ? 'succeeded' : 'authorized')
      const payment = await read(reference)
      if (!payment) throw new Error('the vendor knows the order it has just made')
      return { reference, payment }
    },
  }
}

/** What the core asks when a buyer wants to pay ten dollars. */
export function purchase(changes: Partial<CreatePaymentInput> = {}): CreatePaymentInput {
  return {
    payment_id: newId('pay'),
    payment_number: 7,
    order_id: newId('ord'),
    customer_id: newId('cus'),
    amount: 1000n,
    currency: 'USD',
    description: '100 tokens & more',
    return_url: 'https://shop.example/return?order=1',
    capture: true,
    save_method: false,
    locale: 'en-US',
    expires_at: new Date(Date.now() + 3_600_000),
    ...changes,
  }
}

/** A refund of a payment, in full or in part. */
export function refundOf(payment: PaymentReference, amount: bigint) {
  const { currency } = payment
  return {
    refund_id: newId('re'),
    payment,
    amount,
    currency,
    reason: 'unhappy',
    is_full: amount === payment.amount,
  }
}
