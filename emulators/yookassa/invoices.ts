import { wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { forbidden, invalidRequest, notFound } from './errors.ts'
import { readAmount } from './money.ts'
import type { Amount, Invoice, InvoiceRecord, Payment, PaymentRecord, Receipt, World } from './objects.ts'
import { createPayment, readMetadata } from './payments.ts'
import { checkReceipt } from './receipts.ts'
import { completePayment } from './transitions.ts'

interface PostInvoice {
  payment_data: {
    amount: Amount
    receipt?: Receipt
    save_payment_method?: boolean
    capture?: boolean
    description?: string
    metadata?: Record<string, string | null>
  }
  cart: Invoice['cart']
  delivery_method_data?: { type: 'self' | 'sms' | 'email' }
  expires_at: string
  locale?: string
  description?: string
  metadata?: Record<string, string | null>
}

/** `POST /invoices`: a bill the buyer opens by a link. Throws VendorError 400. */
export function createInvoice(world: World, body: unknown): Invoice {
  const request = body as PostInvoice
  const { kit } = world
  const { payment_data } = request
  const amount = readAmount(payment_data.amount, kit.settings().currency, 'payment_data.amount')
  readMetadata(payment_data.metadata)
  checkReceipt(world, payment_data.receipt, amount)
  if (payment_data.save_payment_method === true && !kit.settings().is_autopayment_enabled) {
    throw forbidden('The shop makes no autopayments')
  }
  if (request.cart.length === 0) throw invalidRequest('The cart is empty', 'cart')
  if (Date.parse(request.expires_at) <= kit.now().getTime()) {
    throw invalidRequest('This moment has passed', 'expires_at')
  }
  const id = `in-${kit.random.uuid()}`
  const type = request.delivery_method_data?.type ?? 'self'
  const wire: Invoice = {
    id,
    status: 'pending',
    cart: request.cart,
    delivery_method: type === 'self' ? { type, url: invoicePage(world, id) } : { type },
    created_at: kit.now().toISOString(),
    expires_at: new Date(request.expires_at).toISOString(),
    ...(request.description === undefined ? {} : { description: request.description }),
    metadata: readMetadata(request.metadata),
  }
  const record: InvoiceRecord = {
    wire,
    payment_data,
    language: request.locale === 'en_US' ? 'en' : 'ru',
  }
  world.invoices.add(id, record)
  return wire
}

export function invoicePage(world: World, id: string): string {
  return `${world.kit.base_url()}/checkout/invoices/v1/contract?invoiceId=${id}`
}

/** The invoice as it is now: it follows its payment and its own clock. Throws VendorError 404. */
export function readInvoice(world: World, id: string): Invoice {
  const record = world.invoices.get(id)
  if (!record) throw notFound('There is no such invoice', 'invoice_id')
  return refreshInvoice(world, record)
}

/** Brings an invoice up to its payment and its clock; a final one stays as it is. */
export function refreshInvoice(world: World, record: InvoiceRecord): Invoice {
  const { wire } = record
  if (wire.status !== 'pending') return wire
  const payment = paymentOf(world, record)?.wire
  if (payment && payment.authorization_details && payment.status !== 'pending') {
    wire.payment_details = { id: payment.id, status: payment.status }
  }
  if (payment?.status === 'succeeded') finish(wire, 'succeeded')
  else if (payment?.status === 'canceled' && payment.authorization_details) {
    const is_expired = payment.cancellation_details?.reason === 'expired_on_capture'
    const reason = is_expired ? 'payment_expired_on_capture' : 'payment_canceled'
    finish(wire, 'canceled', { party: is_expired ? 'yoo_money' : 'merchant', reason })
  } else if (payment?.status !== 'waiting_for_capture' && isPast(world, wire.expires_at)) {
    finish(wire, 'canceled', { party: 'yoo_money', reason: 'invoice_expired' })
  }
  return wire
}

function finish(
  wire: Invoice,
  status: 'succeeded' | 'canceled',
  details?: Invoice['cancellation_details'],
): void {
  wire.status = status
  delete wire.delivery_method
  if (details) wire.cancellation_details = details
}

/** The payment a buyer of this invoice is to make; the one under way, or a new one after a refusal. */
export function payInvoice(world: World, record: InvoiceRecord): Payment {
  const known = paymentOf(world, record)
  if (known && known.wire.status !== 'canceled') return known.wire
  const payment = createPayment(world, {
    ...record.payment_data,
    confirmation: {
      type: 'redirect',
      return_url: invoicePage(world, record.wire.id),
      locale: record.language === 'en' ? 'en_US' : 'ru_RU',
    },
  })
  payment.invoice_details = { id: record.wire.id }
  record.payment_id = payment.id
  return payment
}

/** The control API's `complete` for an invoice. Throws ControlError 409. */
export function completeInvoice(world: World, record: InvoiceRecord, input: CompleteInput): Invoice {
  const { status } = refreshInvoice(world, record)
  if (status !== 'pending') throw wrongState(record.wire.id, status)
  const payment = input.outcome === 'canceled' ? paymentOf(world, record) : undefined
  if (input.outcome === 'canceled' && payment?.wire.status !== 'waiting_for_capture') {
    finish(record.wire, 'canceled', { party: 'merchant', reason: 'invoice_canceled' })
    return record.wire
  }
  const target = payment ?? world.payments.get(payInvoice(world, record).id)
  if (target) completePayment(world, target, input)
  return refreshInvoice(world, record)
}

function paymentOf(world: World, record: InvoiceRecord): PaymentRecord | undefined {
  return record.payment_id === undefined ? undefined : world.payments.get(record.payment_id)
}

function isPast(world: World, time: string): boolean {
  return Date.parse(time) <= world.kit.now().getTime()
}
