import { cardBehaviour, DEFAULT_CARD } from './cards.ts'
import { forbidden, invalidRequest } from './errors.ts'
import { describeMethod, isSavable } from './methods.ts'
import type { CardData } from './methods.ts'
import { readAmount, toAmount } from './money.ts'
import { newId } from './objects.ts'
import type { Amount, Confirmation, Payment, PaymentRecord, Receipt, World } from './objects.ts'
import { checkReceipt } from './receipts.ts'
import { authorize, cancel, settle } from './transitions.ts'

interface PostPayment {
  amount: Amount
  capture?: boolean
  description?: string
  confirmation?: {
    type: 'redirect' | 'external' | 'qr' | 'embedded' | 'mobile_application'
    return_url?: string
    enforce?: boolean
    locale?: string
  }
  payment_method_data?: { type: string; card?: CardData }
  payment_method_id?: string
  payment_token?: string
  save_payment_method?: boolean
  merchant_customer_id?: string
  metadata?: Record<string, string | null>
  recipient?: { gateway_id: string }
  receipt?: Receipt
  transfers?: unknown
  deal?: unknown
}

/** Addresses a browser must never be sent to. */
const NO_RETURN = /^(javascript|data|vbscript|file):/i
const MINUTE_MS = 60_000

/** `POST /payments`. Throws VendorError 400 and 403. */
export function createPayment(world: World, body: unknown): Payment {
  const request = body as PostPayment
  const { kit } = world
  const settings = kit.settings()
  const amount = readAmount(request.amount, settings.currency, 'amount')
  const metadata = readMetadata(request.metadata)
  refuseUnavailable(world, request)
  checkReceipt(world, request.receipt, amount)
  const now = kit.now()
  const id = newId(kit)
  const wire: Payment = {
    id,
    status: 'pending',
    amount: toAmount(amount, settings.currency),
    ...(request.description === undefined ? {} : { description: request.description }),
    recipient: { account_id: settings.shop_id, gateway_id: settings.gateway_id },
    created_at: now.toISOString(),
    test: settings.secret_key.startsWith('test_'),
    paid: false,
    refundable: false,
    metadata,
    ...(request.merchant_customer_id === undefined
      ? {}
      : { merchant_customer_id: request.merchant_customer_id }),
    ...(request.receipt && settings.fiscalization !== 'off' ? { receipt_registration: 'pending' } : {}),
  }
  const record: PaymentRecord = {
    wire,
    amount,
    refunded: 0n,
    refunding: 0n,
    is_two_stage: request.capture !== true,
    wants_saving: request.save_payment_method === true,
    language: request.confirmation?.locale === 'en_US' ? 'en' : 'ru',
    due_at: now.getTime() + settings.pending_minutes * MINUTE_MS,
    ...(request.payment_method_data ? { method_type: request.payment_method_data.type } : {}),
    ...(request.receipt ? { receipt: request.receipt } : {}),
    ...(request.confirmation?.return_url === undefined
      ? {}
      : { return_url: request.confirmation.return_url }),
  }
  world.payments.add(id, record)
  world.open.add(id)
  if (request.payment_method_id !== undefined) chargeSaved(world, record, request.payment_method_id)
  else payDirectly(world, record, request)
  return wire
}

/** Metadata as it is kept. The published shape has no lengths: keys ≤ 32, values ≤ 512 characters. */
export function readMetadata(metadata: Record<string, string | null> | undefined): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [key, value] of Object.entries(metadata ?? {})) {
    if (key.length === 0 || key.length > 32) throw invalidRequest('Key is too long', `metadata.${key}`)
    if (value === null) continue
    if (value.length > 512) throw invalidRequest('Value is too long', `metadata.${key}`)
    kept[key] = value
  }
  return kept
}

function refuseUnavailable(world: World, request: PostPayment): void {
  const settings = world.kit.settings()
  const { payment_method_data, payment_method_id, payment_token, confirmation } = request
  const given = [payment_method_data, payment_method_id, payment_token].filter((value) => value !== undefined)
  if (given.length > 1) {
    throw invalidRequest('Only one of token, saved method and method data may be sent', 'payment_method_id')
  }
  if (request.transfers !== undefined) throw forbidden('The shop does not split payments', 'transfers')
  if (request.deal !== undefined) throw forbidden('The shop makes no deals', 'deal')
  if (request.recipient && request.recipient.gateway_id !== settings.gateway_id) {
    throw invalidRequest('There is no such gateway', 'recipient.gateway_id')
  }
  const wants_method = request.save_payment_method === true || payment_method_id !== undefined
  if (wants_method && !settings.is_autopayment_enabled) throw forbidden('The shop makes no autopayments')
  if (request.save_payment_method === true && payment_method_id !== undefined) {
    throw invalidRequest('A saved method is not saved again', 'save_payment_method')
  }
  if (payment_method_id !== undefined && !world.methods.get(payment_method_id)?.wire.saved) {
    if (world.methods.get(payment_method_id)?.wire.status !== 'inactive') {
      throw invalidRequest('There is no such saved method', 'payment_method_id')
    }
  }
  const type = payment_method_data?.type
  if (type !== undefined && !settings.payment_methods.includes(type)) {
    throw invalidRequest('Payment method is not available', 'payment_method_data.type')
  }
  if (request.save_payment_method === true && type !== undefined && !isSavable(type)) {
    throw invalidRequest('This payment method is not saved', 'save_payment_method')
  }
  checkConfirmation(request)
  if (confirmation?.return_url !== undefined && !isAddress(confirmation.return_url)) {
    throw invalidRequest('Not an address', 'confirmation.return_url')
  }
}

function checkConfirmation(request: PostPayment): void {
  const { confirmation, payment_method_data, payment_method_id, payment_token } = request
  if (confirmation?.type === 'qr' && payment_method_data?.type !== 'sbp') {
    throw invalidRequest('A QR code is for sbp only', 'confirmation.type')
  }
  if (confirmation || payment_method_id !== undefined || payment_token !== undefined) return
  if (payment_method_data?.card) return
  throw invalidRequest('Parameter is missing', 'confirmation')
}

function isAddress(text: string): boolean {
  return URL.canParse(text) && !NO_RETURN.test(text.trim())
}

/** A charge without the buyer: final at once, unless the emulator was told otherwise. */
function chargeSaved(world: World, record: PaymentRecord, method_id: string): void {
  const saved = world.methods.get(method_id)
  if (!saved) return
  const { holder: _, confirmation: __, ...method } = saved.wire
  record.wire.payment_method = { ...method }
  const { autopayment_outcome } = world.kit.settings()
  if (saved.wire.status !== 'active') cancel(world, record, { reason: 'permission_revoked' })
  else if (autopayment_outcome === 'pending') return
  else if (autopayment_outcome === 'succeeded') pay(world, record)
  else cancel(world, record, { reason: autopayment_outcome })
}

/** With card data or a token the payment is tried at once; otherwise the buyer is sent to confirm it. */
function payDirectly(world: World, record: PaymentRecord, request: PostPayment): void {
  const card = request.payment_method_data?.card
  const number = card?.number ?? (request.payment_token === undefined ? undefined : DEFAULT_CARD)
  if (number !== undefined) {
    record.method_type = 'bank_card'
    const behaviour = cardBehaviour(number)
    record.wire.payment_method = describeMethod(world, {
      id: record.wire.id,
      type: 'bank_card',
      ...(card ? { card } : { card_number: number }),
    })
    const is_3ds = behaviour.has_3ds || request.confirmation?.enforce === true
    if (behaviour.decline) return cancel(world, record, behaviour.decline)
    if (!is_3ds) return pay(world, record)
    if (!request.confirmation) return cancel(world, record, { reason: '3d_secure_failed' })
  }
  if (request.confirmation) record.wire.confirmation = confirmationOf(world, record, request.confirmation)
  if (record.method_type !== undefined && !record.wire.payment_method) {
    const { id } = record.wire
    record.wire.payment_method = { type: record.method_type, id, saved: false, status: 'inactive' }
  }
}

function pay(world: World, record: PaymentRecord): void {
  if (record.is_two_stage) authorize(world, record)
  else settle(world, record)
}

function confirmationOf(
  world: World,
  record: PaymentRecord,
  asked: NonNullable<PostPayment['confirmation']>,
): Confirmation {
  const page = `${world.kit.base_url()}/checkout/payments/v2/contract?orderId=${record.wire.id}`
  const back = asked.return_url === undefined ? {} : { return_url: asked.return_url }
  const enforce = asked.enforce === undefined ? {} : { enforce: asked.enforce }
  switch (asked.type) {
    case 'redirect':
      return { type: 'redirect', ...enforce, ...back, confirmation_url: page }
    case 'mobile_application':
      return { type: 'mobile_application', ...back, confirmation_url: page }
    case 'embedded':
      return { type: 'embedded', confirmation_token: `ct-${record.wire.id}` }
    case 'qr':
      return { type: 'qr', ...back, confirmation_data: page }
    case 'external':
      return { type: 'external' }
  }
}

interface PostCapture {
  amount?: Amount
  receipt?: Receipt
  transfers?: unknown
  deal?: unknown
}

/** `POST /payments/{id}/capture`: all or a part of what is held. Throws 400 and 403. */
export function capturePayment(world: World, record: PaymentRecord, body: unknown): Payment {
  const request = (body ?? {}) as PostCapture
  if (record.wire.status !== 'waiting_for_capture') {
    throw invalidRequest(`A payment in status ${record.wire.status} is not captured`, 'payment_id')
  }
  if (request.transfers !== undefined) throw forbidden('The shop does not split payments', 'transfers')
  if (request.deal !== undefined) throw forbidden('The shop makes no deals', 'deal')
  const { currency } = world.kit.settings()
  const amount = request.amount ? readAmount(request.amount, currency, 'amount') : record.amount
  if (amount > record.amount) throw invalidRequest('More than is held', 'amount.value')
  checkReceipt(world, request.receipt, amount, amount === record.amount)
  if (request.receipt) record.receipt = request.receipt
  record.amount = amount
  record.wire.amount = toAmount(amount, currency)
  settle(world, record)
  return record.wire
}

/** `POST /payments/{id}/cancel`: lets go of what is held. Throws 400. */
export function cancelPayment(world: World, record: PaymentRecord): Payment {
  if (record.wire.status !== 'waiting_for_capture') {
    throw invalidRequest(`A payment in status ${record.wire.status} is not canceled`, 'payment_id')
  }
  cancel(world, record, { reason: 'canceled_by_merchant' })
  return record.wire
}
