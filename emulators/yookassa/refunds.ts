import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { forbidden, invalidRequest } from './errors.ts'
import { formatValue, readAmount, toAmount } from './money.ts'
import { tell } from './notifications.ts'
import { newId } from './objects.ts'
import type { Amount, PaymentRecord, Receipt, Refund, RefundRecord, World } from './objects.ts'
import { readMetadata } from './payments.ts'
import { checkReceipt, registerReceipt } from './receipts.ts'

interface PostRefund {
  payment_id: string
  amount: Amount
  description?: string
  receipt?: Receipt
  metadata?: Record<string, string | null>
  sources?: unknown
  deal?: unknown
}

/** Why a refund may be canceled; `party` is the refund network unless the vendor itself says so. */
export const REFUND_REASONS = [
  'general_decline',
  'insufficient_funds',
  'payment_expired',
  'rejected_by_payee',
  'rejected_by_timeout',
  'yoo_money_account_closed',
] as const

/** `POST /refunds`. Money of refunds under way counts as given back. Throws VendorError 400 and 403. */
export function createRefund(world: World, body: unknown): Refund {
  const request = body as PostRefund
  if (request.deal !== undefined) throw forbidden('The shop makes no deals', 'deal')
  if (request.sources !== undefined) throw forbidden('The shop does not split payments', 'sources')
  const record = world.payments.get(request.payment_id)
  if (!record) throw invalidRequest('There is no such payment', 'payment_id')
  const { currency } = world.kit.settings()
  if (record.wire.status !== 'succeeded' || !record.wire.refundable) {
    throw invalidRequest('This payment is not refundable', 'payment_id')
  }
  const amount = readAmount(request.amount, currency, 'amount')
  const rest = record.amount - record.refunded - record.refunding
  if (amount > rest) throw invalidRequest(`At most ${formatValue(rest)} can be refunded`, 'amount.value')
  const is_full = amount === record.amount
  checkReceipt(world, request.receipt, amount, is_full && record.receipt !== undefined)
  const refund = describeRefund(world, record, { request, amount, is_full })
  world.refunds.add(refund.wire.id, refund)
  record.refunding += amount
  const { refund_outcome } = world.kit.settings()
  if (refund_outcome === 'succeeded') succeed(world, record, refund)
  else if (refund_outcome !== 'pending') fail(record, refund, refund_outcome)
  return refund.wire
}

function describeRefund(
  world: World,
  record: PaymentRecord,
  input: { request: PostRefund; amount: bigint; is_full: boolean },
): RefundRecord {
  const { request, amount } = input
  const { kit } = world
  const metadata = readMetadata(request.metadata)
  const receipt = request.receipt ?? (input.is_full ? record.receipt : undefined)
  const is_fiscal = receipt !== undefined && kit.settings().fiscalization !== 'off'
  return {
    amount,
    ...(is_fiscal ? { receipt } : {}),
    wire: {
      id: newId(kit),
      payment_id: record.wire.id,
      status: 'pending',
      created_at: kit.now().toISOString(),
      amount: toAmount(amount, record.wire.amount.currency),
      ...(request.description === undefined ? {} : { description: request.description }),
      ...(is_fiscal ? { receipt_registration: 'pending' as const } : {}),
      ...(request.metadata ? { metadata } : {}),
    },
  }
}

function succeed(world: World, record: PaymentRecord, refund: RefundRecord): void {
  const { wire } = refund
  const { random } = world.kit
  wire.status = 'succeeded'
  record.refunding -= refund.amount
  record.refunded += refund.amount
  record.wire.refunded_amount = toAmount(record.refunded, record.wire.amount.currency)
  record.wire.refundable = record.refunded < record.amount
  if (record.wire.payment_method?.type === 'sbp') {
    wire.refund_method = { type: 'sbp', sbp_operation_id: random.hex(32).toUpperCase() }
  } else wire.refund_authorization_details = { rrn: random.string(12, '0123456789') }
  if (refund.receipt) {
    wire.receipt_registration = 'succeeded'
    registerReceipt(world, {
      type: 'refund',
      payment_id: wire.payment_id,
      refund_id: wire.id,
      receipt: refund.receipt,
    })
  }
  tell(world, 'refund.succeeded', wire)
}

/** There is no notification about a refund that failed: the merchant has to ask. */
function fail(record: PaymentRecord, refund: RefundRecord, reason: string): void {
  const { wire } = refund
  wire.status = 'canceled'
  record.refunding -= refund.amount
  wire.cancellation_details = {
    party: reason.startsWith('yoo_money') ? 'yoo_money' : 'refund_network',
    reason,
  }
  if (wire.receipt_registration) wire.receipt_registration = 'canceled'
}

/** The control API's `complete` for a refund under way. Throws ControlError 400 and 409. */
export function completeRefund(world: World, refund: RefundRecord, input: CompleteInput): Refund {
  const record = world.payments.get(refund.wire.payment_id)
  if (refund.wire.status !== 'pending' || !record) throw wrongState(refund.wire.id, refund.wire.status)
  if (input.outcome === 'succeeded') succeed(world, record, refund)
  else {
    const reason = input.reason ?? 'general_decline'
    const known: readonly string[] = REFUND_REASONS
    if (input.outcome !== 'canceled' || !known.includes(reason)) {
      throw new ControlError(400, 'bad_reason', 'A refund succeeds, or is canceled for a reason.', { known })
    }
    fail(record, refund, reason)
  }
  return refund.wire
}
