import { forbidden, invalidRequest, notFound } from './errors.ts'
import { parseValue } from './money.ts'
import type { Amount, Receipt, ReceiptItem, ReceiptObject, World } from './objects.ts'

/** The most lines of a receipt: of the vendor's own fiscal service, and of third-party cash registers. */
const MAX_ITEMS = { off: 100, third_party: 100, yookassa: 80 }
/** The only payment modes the vendor's own fiscal service registers. */
const OWN_SERVICE_MODES = new Set(['full_payment', 'full_prepayment'])
const PHONE = /^\d{4,15}$/
const ITN = /^(\d{10}|\d{12})$/
const EMAIL = /^[^\s@]{1,64}@[^\s@]{1,190}$/

/**
 * Checks the receipt of a payment, capture or refund of `total` kopecks. With fiscalization on it is required
 * (unless `may_be_absent`) and needs a contact; the sum of quantity × unit price must be the total exactly.
 * Throws 400 with `parameter: receipt…`.
 */
export function checkReceipt(
  world: World,
  receipt: Receipt | undefined,
  total: bigint,
  may_be_absent = false,
): void {
  const { fiscalization } = world.kit.settings()
  if (receipt === undefined) {
    if (fiscalization === 'off' || may_be_absent) return
    throw invalidRequest('Receipt is missing or illegal', 'receipt')
  }
  checkCustomer(receipt.customer, fiscalization, 'receipt.customer')
  checkItems(receipt.items, fiscalization, 'receipt.items')
  if (sumOf(receipt.items) !== total * 1000n) {
    throw invalidRequest('Receipt is missing or illegal: its items do not add up to the amount', 'receipt')
  }
}

function checkCustomer(
  customer: Receipt['customer'],
  fiscalization: 'off' | 'third_party' | 'yookassa',
  parameter: string,
): void {
  const { email, phone, inn } = customer ?? {}
  if (phone !== undefined && !PHONE.test(phone)) {
    throw invalidRequest('Phone must be digits only', `${parameter}.phone`)
  }
  if (email !== undefined && !EMAIL.test(email)) {
    throw invalidRequest('Email is illegal', `${parameter}.email`)
  }
  if (inn !== undefined && !ITN.test(inn)) throw invalidRequest('Inn has 10 or 12 digits', `${parameter}.inn`)
  if (fiscalization === 'yookassa' && email === undefined) {
    throw invalidRequest('Receipt is missing or illegal: no email', `${parameter}.email`)
  }
  if (fiscalization === 'third_party' && email === undefined && phone === undefined) {
    throw invalidRequest('Receipt is missing or illegal: no email and no phone', parameter)
  }
}

function checkItems(
  items: readonly ReceiptItem[],
  fiscalization: 'off' | 'third_party' | 'yookassa',
  parameter: string,
): void {
  if (items.length === 0 || items.length > MAX_ITEMS[fiscalization]) {
    throw invalidRequest('Receipt has no items or too many', parameter)
  }
  const { length } = items
  for (let index = 0; index < length; index += 1) {
    const item = items[index]
    if (item) checkItem(item, fiscalization, `${parameter}.${index}`)
  }
}

function checkItem(
  item: ReceiptItem,
  fiscalization: 'off' | 'third_party' | 'yookassa',
  parameter: string,
): void {
  if (item.description.length === 0 || item.description.length > 128) {
    throw invalidRequest('Description has 1 to 128 characters', `${parameter}.description`)
  }
  if (thousandths(item.quantity) === undefined) {
    throw invalidRequest('Quantity is above zero with at most three decimals', `${parameter}.quantity`)
  }
  if (parseValue(item.amount.value) === undefined) {
    throw invalidRequest('Amount is not a decimal number', `${parameter}.amount.value`)
  }
  if (fiscalization === 'off') return
  if (item.payment_subject === undefined) {
    throw invalidRequest('Payment subject is missing', `${parameter}.payment_subject`)
  }
  if (item.payment_mode === undefined) {
    throw invalidRequest('Payment mode is missing', `${parameter}.payment_mode`)
  }
  if (fiscalization !== 'yookassa') return
  if (item.measure === undefined) throw invalidRequest('Measure is missing', `${parameter}.measure`)
  if (!OWN_SERVICE_MODES.has(item.payment_mode)) {
    throw invalidRequest('This payment mode is not registered', `${parameter}.payment_mode`)
  }
}

/** A quantity in thousandths; undefined when it is not above zero or has more than three decimals. */
function thousandths(quantity: number): bigint | undefined {
  const match = /^(\d{1,9})(?:\.(\d{1,3}))?$/.exec(String(quantity))
  if (!match) return undefined
  const value = BigInt(match[1] ?? '0') * 1000n + BigInt((match[2] ?? '').padEnd(3, '0'))
  return value > 0n ? value : undefined
}

/** Thousandths of a kopeck, so that fractional quantities stay exact. */
function sumOf(items: readonly ReceiptItem[]): bigint {
  return items.reduce(
    (sum, item) => sum + (thousandths(item.quantity) ?? 0n) * (parseValue(item.amount.value) ?? 0n),
    0n,
  )
}

/** Registers the receipt that goes with a payment or a refund. */
export function registerReceipt(
  world: World,
  input: Pick<ReceiptObject, 'type' | 'payment_id' | 'refund_id' | 'settlements'> & { receipt: Receipt },
): ReceiptObject {
  const { kit } = world
  const { receipt, ...rest } = input
  const status = kit.settings().receipt_outcome
  const fiscal = {
    fiscal_document_number: String(1000 + kit.random.integer(900_000)),
    fiscal_storage_number: `9288${kit.random.string(12, '0123456789')}`,
    fiscal_attribute: kit.random.string(10, '123456789'),
    fiscal_provider_id: `fd${kit.random.hex(32)}`,
    registered_at: kit.now().toISOString(),
  }
  const object: ReceiptObject = {
    id: `rt-${kit.random.uuid()}`,
    ...rest,
    status,
    ...(status === 'succeeded' ? fiscal : {}),
    items: receipt.items,
    ...(receipt.tax_system_code === undefined ? {} : { tax_system_code: receipt.tax_system_code }),
  }
  world.receipts.add(object.id, object)
  return object
}

interface PostReceipt extends Receipt {
  type: 'payment' | 'refund'
  payment_id?: string
  refund_id?: string
  send: boolean
  settlements: { type: string; amount: Amount }[]
}

/** `POST /receipts`: the settlement after a prepayment, or a receipt on its own. Throws 400, 403, 404. */
export function createReceipt(world: World, body: unknown): ReceiptObject {
  const request = body as PostReceipt
  const { fiscalization } = world.kit.settings()
  if (fiscalization === 'off') throw forbidden('The shop sends no receipts')
  if (request.payment_id !== undefined && !world.payments.get(request.payment_id)) {
    throw notFound('No such payment', 'payment_id')
  }
  if (request.refund_id !== undefined && !world.refunds.get(request.refund_id)) {
    throw notFound('No such refund', 'refund_id')
  }
  const named = request.type === 'refund' ? (request.refund_id ?? request.payment_id) : request.payment_id
  if (named === undefined) throw invalidRequest('Parameter is missing', `${request.type}_id`)
  checkCustomer(request.customer, fiscalization, 'customer')
  checkItems(request.items, fiscalization, 'items')
  const settled = request.settlements.reduce((sum, part) => sum + (parseValue(part.amount.value) ?? 0n), 0n)
  if (request.settlements.length === 0 || sumOf(request.items) !== settled * 1000n) {
    throw invalidRequest('Settlements do not add up to the items', 'settlements')
  }
  return registerReceipt(world, {
    type: request.type,
    ...(request.payment_id === undefined ? {} : { payment_id: request.payment_id }),
    ...(request.refund_id === undefined ? {} : { refund_id: request.refund_id }),
    settlements: request.settlements,
    receipt: request,
  })
}
