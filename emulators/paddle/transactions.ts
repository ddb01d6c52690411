import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { adjust } from './adjustments.ts'
import { newId, VendorError, withoutTax } from './objects.ts'
import type { Adjustment, Price, Subscription, Totals, Transaction, World } from './objects.ts'
import { beginSubscription } from './subscriptions.ts'
import { tell } from './webhooks.ts'

export interface TransactionBody {
  items: { quantity: number; price?: Price; price_id?: string }[]
  custom_data?: Record<string, unknown> | null
  currency_code?: string
  collection_mode?: string
  checkout?: { url?: string | null } | null
}

/** With the address the tax is of, instead of a page. */
export type PreviewBody = Pick<TransactionBody, 'items' | 'currency_code'> & {
  customer_id?: string | null
  address?: { country_code: string; postal_code?: string | null }
}

/** `POST /transactions` with one price made for the occasion. Throws VendorError 400. */
export function createTransaction(world: World, body: TransactionBody): Transaction {
  const item = itemOf(world, body)
  if ((body.collection_mode ?? 'automatic') !== 'automatic')
    throw invalid('collection_mode', 'Not played here')
  const custom_data = body.custom_data ?? null
  const page = body.checkout?.url ?? `${world.kit.base_url()}/pay`
  return addTransaction(world, item, { custom_data, page })
}

/** `POST /transactions/preview`: what it would come to, of which nothing is kept. Throws VendorError 400. */
export function previewTransaction(world: World, body: PreviewBody): object {
  const { price, quantity } = itemOf(world, body)
  const { address = null, customer_id = null, currency_code = price.unit_price.currency_code } = body
  return {
    customer_id,
    address_id: null,
    business_id: null,
    currency_code,
    discount_id: null,
    customer_ip_address: null,
    address,
    ignore_trials: false,
    items: [{ quantity, include_in_totals: true, proration: null, price }],
    details: previewDetails(world, { price, quantity }),
    available_payment_methods: ['card'],
  }
}

/** The details of a transaction that is not made. */
export function previewDetails(world: World, { price, quantity }: Transaction['items'][number]): object {
  const { totals, tax_rate } = totalsOf(world, price, quantity)
  return {
    tax_rates_used: [{ tax_rate, totals }],
    totals: allTotals(totals, price.unit_price.currency_code),
    line_items: [{ price_id: null, quantity, tax_rate, unit_totals: totals, totals, proration: null }],
  }
}

/** The one item of a request, with a price made for the occasion. Throws VendorError 400. */
export function itemOf(
  world: World,
  { items, currency_code: wanted }: Pick<TransactionBody, 'items' | 'currency_code'>,
): Transaction['items'][number] {
  const [item, ...more] = items
  const price = item?.price
  if (!item || !price || more.length > 0)
    throw invalid('items', 'Exactly one item with a price is played here')
  const { currency_code, amount } = price.unit_price
  if (!/^[1-9]\d{0,14}$/.test(amount)) throw invalid('items.0.price.unit_price', 'Not an amount')
  if ((wanted ?? currency_code) !== currency_code) throw invalid('currency_code', 'Not that of the price')
  return { quantity: item.quantity, price: { ...price, id: newId(world, 'pri') } }
}

/** Writes a transaction; of a subscription it is the vendor's own, and asks nobody to a page. */
export function addTransaction(
  world: World,
  item: Transaction['items'][number],
  made: {
    custom_data: Transaction['custom_data']
    page?: string
    origin?: Transaction['origin']
    subscription?: Pick<Subscription, 'id' | 'customer_id' | 'address_id'>
  },
): Transaction {
  const { price, quantity } = item
  const { currency_code } = price.unit_price
  const { totals, tax_rate } = totalsOf(world, price, quantity)
  const id = newId(world, 'txn')
  const now = world.kit.now().toISOString()
  const { page, subscription } = made
  const transaction: Transaction = {
    id,
    // Ready only when the customer and his address are known, which the checkout asks for.
    status: subscription ? 'ready' : 'draft',
    customer_id: subscription?.customer_id ?? null,
    address_id: subscription?.address_id ?? null,
    business_id: null,
    custom_data: made.custom_data,
    currency_code,
    origin: made.origin ?? 'api',
    subscription_id: subscription?.id ?? null,
    invoice_number: null,
    collection_mode: 'automatic',
    discount_id: null,
    items: [item],
    details: {
      totals: allTotals(totals, currency_code),
      line_items: [{ id: newId(world, 'txnitm'), price_id: price.id, quantity, tax_rate, totals }],
    },
    payments: [],
    checkout: { url: page === undefined ? null : `${page}${page.includes('?') ? '&' : '?'}_ptxn=${id}` },
    created_at: now,
    updated_at: now,
    billed_at: null,
  }
  world.transactions.add(id, transaction)
  tell(world, 'transaction.created', transaction)
  return transaction
}

function allTotals(totals: Totals, currency_code: string): Transaction['details']['totals'] {
  return {
    ...totals,
    credit: '0',
    credit_to_balance: '0',
    balance: totals.total,
    grand_total: totals.total,
    fee: null,
    earnings: null,
    currency_code,
  }
}

function totalsOf(world: World, price: Price, quantity: number): { totals: Totals; tax_rate: string } {
  const { tax_permille } = world.kit.settings()
  const amount = BigInt(price.unit_price.amount) * BigInt(quantity)
  const is_internal = price.tax_mode === 'internal'
  const subtotal = is_internal ? withoutTax(amount, tax_permille) : amount
  const total = is_internal ? amount : amount + (amount * BigInt(tax_permille)) / 1000n
  const tax = String(total - subtotal)
  const totals = { subtotal: String(subtotal), discount: '0', tax, total: String(total) }
  return { totals, tax_rate: String(tax_permille / 1000) }
}

/** The buyer pays; completed at once, or later when the settings say so. */
export function pay(world: World, transaction: Transaction): void {
  const now = world.kit.now().toISOString()
  const { totals } = transaction.details
  transaction.customer_id ??= newId(world, 'ctm')
  transaction.address_id ??= newId(world, 'add')
  transaction.payments.unshift(attempt(world, transaction, null))
  transaction.billed_at = now
  totals.balance = '0'
  beginSubscription(world, transaction)
  move(world, transaction, 'paid')
  if (world.kit.settings().completion === 'at_once') finish(world, transaction)
}

function finish(world: World, transaction: Transaction): void {
  const { totals } = transaction.details
  const fee = (BigInt(totals.total) * BigInt(world.kit.settings().fee_permille)) / 1000n
  totals.fee = String(fee)
  totals.earnings = String(BigInt(totals.subtotal) - fee)
  transaction.invoice_number = `1-${world.transactions.size}`
  move(world, transaction, 'completed')
}

/** A card is declined; the checkout stays open. */
export function decline(world: World, transaction: Transaction, error_code: string): void {
  transaction.payments.unshift(attempt(world, transaction, error_code))
  transaction.updated_at = world.kit.now().toISOString()
  tell(world, 'transaction.payment_failed', transaction)
}

/** The control API's `complete` for a transaction. Throws ControlError 400 and 409. */
export function completeTransaction(
  world: World,
  transaction: Transaction,
  input: CompleteInput,
): Transaction | Adjustment {
  const { id, status } = transaction
  if (input['dispute'] !== undefined) return dispute(world, transaction, input['dispute'])
  if (input.outcome === 'authorized') throw new ControlError(400, 'bad_outcome', 'There are no holds here.')
  if (status === 'paid' && input.outcome === 'succeeded') finish(world, transaction)
  else if (status !== 'draft' && status !== 'ready') throw wrongState(id, status)
  else if (input.outcome === 'succeeded') pay(world, transaction)
  else if (input.reason === undefined) move(world, transaction, 'canceled')
  else if (input.reason === 'past_due') {
    decline(world, transaction, 'declined')
    move(world, transaction, 'past_due')
  } else decline(world, transaction, input.reason)
  return transaction
}

function dispute(world: World, transaction: Transaction, step: unknown): Adjustment {
  const made = [...world.adjustments.values()].filter(
    ({ transaction_id }) => transaction_id === transaction.id,
  )
  const has = (action: string) => made.some((adjustment) => adjustment.action === action)
  const may_open = step === 'open' && transaction.status === 'completed' && !has('chargeback')
  const may_win = step === 'won' && has('chargeback') && !has('chargeback_reverse')
  if (!may_open && !may_win) throw wrongState(transaction.id, transaction.status)
  const action = may_open ? 'chargeback' : 'chargeback_reverse'
  return adjust(world, transaction, { action, reason: 'fraud', amount: undefined, status: 'approved' })
}

export function move(world: World, transaction: Transaction, status: Transaction['status']): void {
  transaction.status = status
  transaction.updated_at = world.kit.now().toISOString()
  tell(world, `transaction.${status}`, transaction)
}

function attempt(
  world: World,
  transaction: Transaction,
  error_code: string | null,
): Transaction['payments'][number] {
  const now = world.kit.now().toISOString()
  const { random } = world.kit
  return {
    payment_attempt_id: random.uuid(),
    stored_payment_method_id: random.uuid(),
    amount: transaction.details.totals.total,
    status: error_code === null ? 'captured' : 'error',
    error_code,
    created_at: now,
    captured_at: error_code === null ? now : null,
  }
}

function invalid(field: string, message: string): VendorError {
  return new VendorError(400, 'bad_request', `Invalid request: ${field}`, [{ field, message }])
}
