import type { CreatePaymentInput, PaymentReference, Receipt } from '@kopilka/extension'
import type { Emulator } from '@kopilka/emulators/emulator'
import { startYookassaEmulator } from '@kopilka/emulators/yookassa'
import yookassa from '../src/modules/payments/gateways/yookassa.ts'
import { newContext, newId } from './gateway-contract.ts'

const SHOP = { shop_id: '123456', secret_key: 'test_canary-0123456789_abcdefghijkl' }

type YookassaConfig = Parameters<typeof yookassa.isTest>[0]

/** A shop at the YooKassa emulator, and what a test does with it again and again. */
export interface YookassaLab {
  emulator: Emulator
  context: ReturnType<typeof newContext>
  /** The shop's settings as the gateway reads them, with changes. */
  configOf: (changes?: object) => YookassaConfig
  /** What was posted to this path, newest last. */
  sentTo: (path: string) => { headers: object | undefined; body: Record<string, unknown> }[]
  /** A payment the vendor has made and nobody has paid. */
  created: (input?: CreatePaymentInput) => Promise<PaymentReference & { external_id: string }>
  paid: (input?: CreatePaymentInput) => Promise<PaymentReference & { external_id: string }>
}

/** Starts the emulator; the caller closes it. */
export async function openYookassa(): Promise<YookassaLab> {
  const emulator = await startYookassaEmulator({ settings: SHOP })
  const context = newContext()
  const configOf = (changes: object = {}) =>
    yookassa.configSchema.parse({ ...SHOP, base_url: `${emulator.base_url}/v3`, ...changes })
  const created = async (input = purchase()) => {
    const { external_id, failure_reason } = await yookassa.createPayment(configOf(), input, context)
    if (external_id === undefined) throw new Error(`the payment was refused: ${failure_reason}`)
    return { ...input, external_id }
  }
  return {
    emulator,
    context,
    configOf,
    sentTo(path) {
      const { items } = emulator.control.log({ limit: 1000, kind: 'request', order: 'asc' })
      return items
        .filter((request) => request.path === path && request.method === 'POST')
        .map(({ body = '{}', headers }) => ({ headers, body: JSON.parse(body) as Record<string, unknown> }))
    },
    created,
    async paid(input = purchase()) {
      const reference = await created(input)
      emulator.control.complete(reference.external_id, 'succeeded')
      return reference
    },
  }
}

/** What the core asks when a buyer wants to pay 599 roubles. */
export function purchase(changes: Partial<CreatePaymentInput> = {}): CreatePaymentInput {
  return {
    payment_id: newId('pay'),
    payment_number: 1,
    order_id: newId('ord'),
    customer_id: newId('cus'),
    amount: 59_900n,
    currency: 'RUB',
    description: 'Подписка',
    return_url: 'https://shop.example/return?order=1',
    capture: true,
    save_method: false,
    locale: 'ru',
    expires_at: new Date(Date.now() + 3_600_000),
    ...changes,
  }
}

/** A receipt of 599 roubles in two lines, one of them with a fractional quantity. */
export function receiptOf(changes: Partial<Receipt> = {}): Receipt {
  const line = { vat: '22', payment_subject: 'service', payment_mode: 'full_prepayment' } as const
  return {
    contact: { email: 'buyer@example.com', phone: '+7 (900) 000-00-00' },
    items: [
      { ...line, description: 'Подписка', quantity: 1, unit_amount: 50_000n },
      { ...line, description: 'Минуты', quantity: 2.5, unit_amount: 3_960n, vat: 'none' },
    ],
    ...changes,
  }
}

/** A receipt of one line. */
export function oneLine(unit_amount: bigint, changes: Partial<Receipt['items'][number]> = {}): Receipt {
  const line = {
    description: 'Услуга',
    quantity: 1,
    payment_subject: 'service',
    payment_mode: 'full_payment',
  }
  return receiptOf({ items: [{ ...line, unit_amount, vat: 'none', ...changes }] })
}

/** A refund of a payment, in full or in part. */
export function refundOf(payment: PaymentReference, amount: bigint) {
  const is_full = amount === payment.amount
  return { refund_id: newId('re'), payment, amount, currency: 'RUB', reason: 'Передумал', is_full }
}
