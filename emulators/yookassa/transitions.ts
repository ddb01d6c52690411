import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { CANCEL_REASONS, cardBehaviour } from './cards.ts'
import { describeMethod, isSavable, saveMethod } from './methods.ts'
import { incomeOf, toAmount } from './money.ts'
import { tell } from './notifications.ts'
import type { Payment, PaymentRecord, PaymentStatus, World } from './objects.ts'
import { registerReceipt } from './receipts.ts'

/** Where a payment may go from where. Final states go nowhere. */
const NEXT: Readonly<Record<PaymentStatus, readonly PaymentStatus[]>> = {
  pending: ['waiting_for_capture', 'succeeded', 'canceled'],
  waiting_for_capture: ['succeeded', 'canceled'],
  succeeded: [],
  canceled: [],
}
const HOUR_MS = 3_600_000

/** The money is held and waits for a capture. Throws ControlError 409 from any state but `pending`. */
export function authorize(world: World, record: PaymentRecord): void {
  move(record, 'waiting_for_capture')
  const { wire } = record
  record.due_at = world.kit.now().getTime() + world.kit.settings().hold_hours * HOUR_MS
  wire.paid = true
  wire.expires_at = new Date(record.due_at).toISOString()
  acceptMethod(world, record)
  tell(world, 'payment.waiting_for_capture', wire)
}

/** The money is the shop's. Throws ControlError 409 from a final state. */
export function settle(world: World, record: PaymentRecord): void {
  const was_pending = record.wire.status === 'pending'
  move(record, 'succeeded')
  const { wire } = record
  const settings = world.kit.settings()
  world.open.delete(wire.id)
  wire.paid = true
  wire.refundable = true
  wire.captured_at = world.kit.now().toISOString()
  wire.income_amount = toAmount(incomeOf(record.amount, settings.fee_permille), wire.amount.currency)
  wire.refunded_amount = toAmount(0n, wire.amount.currency)
  delete wire.expires_at
  if (was_pending) acceptMethod(world, record)
  if (record.receipt && settings.fiscalization !== 'off') {
    wire.receipt_registration = 'succeeded'
    registerReceipt(world, { type: 'payment', payment_id: wire.id, receipt: record.receipt })
  }
  tell(world, 'payment.succeeded', wire)
}

/** The payment is over without money. `party` follows from the reason. Throws ControlError 409. */
export function cancel(world: World, record: PaymentRecord, why: { reason: string; party?: string }): void {
  move(record, 'canceled')
  const { wire } = record
  world.open.delete(wire.id)
  const party = why.party ?? CANCEL_REASONS[why.reason] ?? 'payment_network'
  wire.paid = false
  wire.refundable = false
  wire.cancellation_details = { party, reason: why.reason }
  delete wire.expires_at
  if (wire.receipt_registration) wire.receipt_registration = 'canceled'
  tell(world, 'payment.canceled', wire)
}

function move(record: PaymentRecord, to: PaymentStatus): void {
  const { wire } = record
  if (!NEXT[wire.status].includes(to)) throw wrongState(wire.id, wire.status)
  wire.status = to
  delete wire.confirmation
}

/** What a bank adds when it agrees; and the method is kept when that was asked for. */
function acceptMethod(world: World, record: PaymentRecord): void {
  const { wire } = record
  const { random } = world.kit
  const type = record.method_type ?? wire.payment_method?.type ?? 'bank_card'
  if (!wire.payment_method || (type === 'sbp' && !wire.payment_method.sbp_operation_id)) {
    wire.payment_method = describeMethod(world, { id: wire.id, type })
  }
  wire.authorization_details = {
    rrn: random.string(12, '0123456789'),
    auth_code: random.string(6, '0123456789'),
    three_d_secure: { applied: wire.authorization_details?.three_d_secure.applied ?? false },
  }
  if (record.wants_saving && isSavable(wire.payment_method.type)) saveMethod(world, wire.payment_method)
}

/** What the buyer does on the page, or a test through the control API. */
export interface BuyerInput {
  method_type?: string
  card_number?: string
  /** The buyer passed 3-D Secure. */
  is_3ds_passed?: boolean
}

/** Pays a pending payment as the buyer: the card's number decides. Throws ControlError 409. */
export function payAsBuyer(world: World, record: PaymentRecord, input: BuyerInput): Payment {
  const { wire } = record
  if (wire.status !== 'pending') throw wrongState(wire.id, wire.status)
  const type = record.method_type ?? input.method_type ?? 'bank_card'
  record.method_type = type
  if (!wire.payment_method?.saved && !(type === 'bank_card' && wire.payment_method?.card)) {
    wire.payment_method = describeMethod(world, {
      id: wire.id,
      type,
      ...(input.card_number === undefined ? {} : { card_number: input.card_number }),
    })
  }
  const decline = type === 'bank_card' ? cardBehaviour(input.card_number ?? '').decline : undefined
  if (decline) {
    cancel(world, record, decline)
    return wire
  }
  const applied = input.is_3ds_passed ?? false
  wire.authorization_details = { rrn: '', auth_code: '', three_d_secure: { applied } }
  if (record.is_two_stage) authorize(world, record)
  else settle(world, record)
  return wire
}

/**
 * The control API's `complete`: `authorized` holds the money, `succeeded` takes it (a two-stage payment is
 * captured too), `canceled` ends the payment for `reason` (`general_decline` when absent). `card_number` and
 * `method` say what was paid with. Throws ControlError 400 for an unknown reason, 409 for a wrong state.
 */
export function completePayment(world: World, record: PaymentRecord, input: CompleteInput): Payment {
  const { wire } = record
  if (input.outcome === 'canceled') {
    const reason = input.reason ?? (wire.status === 'pending' ? 'general_decline' : 'expired_on_capture')
    if (!Object.hasOwn(CANCEL_REASONS, reason)) {
      throw new ControlError(400, 'bad_reason', 'The vendor has no such reason.', {
        known: Object.keys(CANCEL_REASONS),
      })
    }
    cancel(world, record, { reason })
    return wire
  }
  const before = wire.status
  const { card_number, method } = input
  if (before === 'pending') {
    record.is_two_stage ||= input.outcome === 'authorized'
    payAsBuyer(world, record, {
      ...(typeof card_number === 'string' ? { card_number } : {}),
      ...(typeof method === 'string' ? { method_type: method } : {}),
    })
    if (input.outcome === 'succeeded' && isHeld(wire)) settle(world, record)
  } else if (before === 'waiting_for_capture' && input.outcome === 'succeeded') settle(world, record)
  else throw wrongState(wire.id, before)
  return wire
}

/** Read through a call: the compiler cannot know that paying has changed the status. */
function isHeld(wire: Payment): boolean {
  return wire.status === 'waiting_for_capture'
}

/** Ends what nobody paid or captured in time. */
export function expireDue(world: World, now: Date): void {
  for (const id of world.open) {
    const record = world.payments.get(id)
    if (!record) world.open.delete(id)
    else if (record.due_at <= now.getTime()) {
      const reason = record.wire.status === 'pending' ? 'expired_on_confirmation' : 'expired_on_capture'
      cancel(world, record, { reason })
    }
  }
}
