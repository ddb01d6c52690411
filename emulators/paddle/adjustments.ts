import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { newId, VendorError, withoutTax } from './objects.ts'
import type { Adjustment, Transaction, World } from './objects.ts'
import { tell } from './webhooks.ts'

export interface AdjustmentBody {
  action: string
  transaction_id: string
  reason: string
  type?: 'full' | 'partial'
  items?: { item_id: string; type: string; amount?: string | null }[] | null
}

/** `POST /adjustments`: refunds of completed transactions, one waiting at a time, never above the total. */
export function createAdjustment(world: World, body: AdjustmentBody): Adjustment {
  if (body.action !== 'refund')
    throw refusal('adjustment_action_not_supported', 'Only refunds are played here')
  const transaction = world.transactions.get(body.transaction_id)
  if (!transaction) throw new VendorError(404, 'not_found', `Entity ${body.transaction_id} not found`)
  if (transaction.status !== 'completed') {
    throw refusal(
      'adjustment_transaction_invalid_status_for_refund',
      `The transaction is ${transaction.status}`,
    )
  }
  const earlier = refundsOf(world, transaction)
  if (earlier.some(({ status }) => status === 'pending_approval')) {
    throw refusal('adjustment_pending_refund_request', 'A refund is waiting for approval')
  }
  const given = earlier.reduce((sum, { totals }) => sum + BigInt(totals.total), 0n)
  const total = BigInt(transaction.details.totals.total)
  const amount = body.type === 'full' ? total : partOf(transaction, body)
  if (amount > total - given) {
    throw refusal(
      'adjustment_total_amount_above_remaining_allowed',
      `At most ${total - given} can be refunded`,
    )
  }
  const { refund_outcome } = world.kit.settings()
  const made = adjust(world, transaction, {
    action: 'refund',
    reason: body.reason,
    amount: body.type === 'full' ? undefined : amount,
    status: refund_outcome === 'approved' ? 'approved' : 'pending_approval',
  })
  if (refund_outcome === 'rejected') decide(world, made, 'rejected')
  return made
}

/** Writes an adjustment and tells of it; no amount: of all. */
export function adjust(
  world: World,
  transaction: Transaction,
  input: { action: string; reason: string; amount: bigint | undefined; status: Adjustment['status'] },
): Adjustment {
  const { settings, now } = world.kit
  const total = input.amount ?? BigInt(transaction.details.totals.total)
  const subtotal = withoutTax(total, settings().tax_permille)
  const at = now().toISOString()
  const type = input.amount === undefined ? 'full' : 'partial'
  const made: Adjustment = {
    id: newId(world, 'adj'),
    action: input.action,
    type,
    transaction_id: transaction.id,
    subscription_id: transaction.subscription_id,
    customer_id: transaction.customer_id ?? newId(world, 'ctm'),
    reason: input.reason,
    credit_applied_to_balance: null,
    currency_code: transaction.currency_code,
    status: input.status,
    items: transaction.details.line_items.map(({ id }) => ({
      id: newId(world, 'adjitm'),
      item_id: id,
      type,
      amount: String(total),
    })),
    totals: {
      subtotal: String(subtotal),
      tax: String(total - subtotal),
      total: String(total),
      fee: '0',
      earnings: String(subtotal),
      currency_code: transaction.currency_code,
    },
    created_at: at,
    updated_at: at,
  }
  world.adjustments.add(made.id, made)
  tell(world, 'adjustment.created', made)
  return made
}

/** The control API's `complete` for a refund that waits. Throws ControlError 400 and 409. */
export function completeAdjustment(world: World, adjustment: Adjustment, input: CompleteInput): Adjustment {
  if (adjustment.status !== 'pending_approval') throw wrongState(adjustment.id, adjustment.status)
  if (input.outcome === 'authorized')
    throw new ControlError(400, 'bad_outcome', 'A refund is approved or rejected.')
  decide(world, adjustment, input.outcome === 'succeeded' ? 'approved' : 'rejected')
  return adjustment
}

/** What was refunded or may yet be: all but the rejected. */
export function refundsOf(world: World, transaction: Transaction): Adjustment[] {
  return [...world.adjustments.values()].filter(
    ({ transaction_id, action, status }) =>
      transaction_id === transaction.id && action === 'refund' && !['rejected', 'reversed'].includes(status),
  )
}

function decide(world: World, adjustment: Adjustment, status: 'approved' | 'rejected'): void {
  adjustment.status = status
  adjustment.updated_at = world.kit.now().toISOString()
  tell(world, 'adjustment.updated', adjustment)
}

function partOf(transaction: Transaction, body: AdjustmentBody): bigint {
  const [item, ...more] = body.items ?? []
  const held = transaction.details.line_items.find(({ id }) => id === item?.item_id)
  if (!item || !held || more.length > 0)
    throw refusal('adjustment_invalid_items', 'Not an item of the transaction')
  if (item.type === 'full') return BigInt(held.totals.total)
  if (item.type !== 'partial' || !/^[1-9]\d{0,14}$/.test(item.amount ?? '')) {
    throw refusal('adjustment_invalid_amount', 'A part has an amount')
  }
  return BigInt(item.amount ?? '')
}

function refusal(code: string, message: string): VendorError {
  return new VendorError(400, code, message)
}
