import { GatewayUnavailable, type VendorEvent, type VendorPayment } from '@kopilka/extension'
import type { Db } from '#kernel/db'
import { OperationalError } from '#kernel/errors'
import type { InboxRow } from './inbox-queries.ts'
import type { PaymentsKit } from './kit.ts'
import { findPayment, findPaymentIds } from './payment-queries.ts'
import { referenceOf } from './payments.ts'
import { WAITS_FOR_PAYMENT } from './foreign-refunds.ts'
import { reviveEvent } from './revive-event.ts'
import { WAITS_FOR_CHARGE } from './subscription-charges.ts'
import { findSubscription } from './vendor-subscription-queries.ts'
import { askVendor, recordSubscriptionWord } from './vendor-subscriptions.ts'

/** Vendor reads at once: enough to hide latency, few enough not to be throttled. */
const READS_AT_ONCE = 16

/** A notification with what its vendor says of its object. */
export interface Resolved {
  row: InboxRow
  event: VendorEvent
  /** The object as the vendor tells it; absent when the event carries another kind. */
  payment?: VendorPayment | undefined
  /** When the vendor was asked; absent for what its notification proved. */
  told_at?: Date
  outcome?: string
  error?: string
}

/** Asks the vendors about notifications that do not prove all they say, some at once. */
export async function resolveAll(db: Db, kit: PaymentsKit, rows: readonly InboxRow[]): Promise<Resolved[]> {
  const resolved: Resolved[] = []
  for (let at = 0; at < rows.length; at += READS_AT_ONCE) {
    const part = rows.slice(at, at + READS_AT_ONCE)
    resolved.push(...(await Promise.all(part.map((row) => resolveOne(db, kit, row)))))
  }
  return resolved
}

async function resolveOne(db: Db, kit: PaymentsKit, row: InboxRow): Promise<Resolved> {
  const event = reviveEvent(row.event)
  const proved = provedOf(row, event)
  if (proved) return proved
  try {
    if (!(await isChargeKnown(db, kit, row, event))) return { row, event, error: WAITS_FOR_PAYMENT }
    if (event.kind === 'payment') return await readPayment(db, kit, row, event)
    if (event.kind === 'refund') return await readRefund(db, kit, row, event)
    if (event.kind === 'subscription') return await readSubscription(db, kit, row, event)
    if (event.kind === 'dispute') return await nameDisputed(db, kit, row, event)
    // A kind that another version of this program has stored.
    return { row, event }
  } catch (error) {
    if (!(error instanceof GatewayUnavailable || error instanceof OperationalError)) {
      kit.notice('reading a payment from its vendor failed', {
        gateway: row.gateway,
        message: error instanceof Error ? error.message : String(error),
      })
    }
    return { row, event, error: error instanceof Error ? error.message : String(error) }
  }
}

/** An event whose proved bytes hold the whole object: there is nothing to ask the vendor. */
export function provedOf(row: InboxRow, event: VendorEvent): Resolved | undefined {
  if (event.trust !== 'signed' || chargeOf(event)) return undefined
  if (event.kind === 'payment' && event.payment) return { row, event, payment: event.payment }
  const has_object =
    (event.kind === 'refund' && event.refund) || (event.kind === 'subscription' && event.subscription)
  return has_object ? { row, event } : undefined
}

async function readPayment(
  db: Db,
  kit: PaymentsKit,
  row: InboxRow,
  event: Extract<VendorEvent, { kind: 'payment' }>,
): Promise<Resolved> {
  const { gateway, config } = kit.gateways.get(row.gateway)
  const [id] = await findPaymentIds(db, [{ ...event, gateway: row.gateway }])
  const ours = id === undefined ? undefined : await findPayment(db, id)
  // Without a payment of ours the vendor's object still tells which it is: the notification may have come
  // before the answer to our own create call was stored.
  const reference = ours
    ? { ...referenceOf(ours), ...(event.external_id === undefined ? {} : { external_id: event.external_id }) }
    : event.external_id === undefined
      ? undefined
      : { payment_id: '', payment_number: 0, external_id: event.external_id, amount: 0n, currency: '' }
  if (!reference) return { row, event, outcome: 'not_ours' }
  const payment = await gateway.getPayment(config, reference, kit.gateways.context(row.gateway))
  return payment ? { row, event, payment } : { row, event, outcome: 'unknown_to_vendor' }
}

/** A refund or a dispute of a charge that a subscription was renewed with. */
function chargeOf(event: VendorEvent): { subscription_external_id?: string } | undefined {
  return event.kind === 'refund' || event.kind === 'dispute' ? event.charge_of : undefined
}

/**
 * Whether the charge is here whose money goes back; true of anything else. One that is not is looked for in
 * its subscription: the notification of it may be late or lost.
 */
async function isChargeKnown(db: Db, kit: PaymentsKit, row: InboxRow, event: VendorEvent): Promise<boolean> {
  const charge = chargeOf(event)
  const external_id =
    event.kind === 'dispute'
      ? event.dispute.payment_external_id
      : event.kind === 'refund'
        ? (event.payment_external_id ?? event.refund?.payment_external_id)
        : undefined
  if (!charge || external_id === undefined) return true
  const isHere = async () =>
    (await findPaymentIds(db, [{ gateway: row.gateway, external_id }]))[0] !== undefined
  if (await isHere()) return true
  if (charge.subscription_external_id === undefined) return false
  const told_at = kit.clock.now()
  const word = await askVendor(kit, row.gateway, { external_id: charge.subscription_external_id })
  if (word)
    await db.transact((tx) => recordSubscriptionWord(tx, kit, { gateway: row.gateway, word, told_at }))
  return isHere()
}

async function readRefund(
  db: Db,
  kit: PaymentsKit,
  row: InboxRow,
  event: Extract<VendorEvent, { kind: 'refund' }>,
): Promise<Resolved> {
  if (event.trust === 'signed' && event.refund) return { row, event }
  const { gateway, config } = kit.gateways.get(row.gateway)
  if (!gateway.getRefund) return { row, event, outcome: 'gateway_cannot_read_refunds' }
  const refund = await gateway.getRefund(
    config,
    {
      refund_id: event.refund_id ?? '',
      external_id: event.external_id,
      payment: {
        payment_id: '',
        payment_number: 0,
        amount: 0n,
        currency: '',
        ...(event.payment_external_id === undefined ? {} : { external_id: event.payment_external_id }),
      },
      amount: 0n,
      currency: '',
    },
    kit.gateways.context(row.gateway),
  )
  return refund ? { row, event: { ...event, refund } } : { row, event, outcome: 'unknown_to_vendor' }
}

async function readSubscription(
  db: Db,
  kit: PaymentsKit,
  row: InboxRow,
  event: Extract<VendorEvent, { kind: 'subscription' }>,
): Promise<Resolved> {
  const { external_id } = event
  const known = await findSubscription(db, { gateway: row.gateway, external_id })
  const product_code = event.product_code ?? known?.product_code ?? undefined
  const told_at = kit.clock.now()
  const reference = { external_id, ...(product_code === undefined ? {} : { product_code }) }
  const subscription = await askVendor(kit, row.gateway, reference)
  // Money was taken for it: the vendor knows it, if not at this moment.
  if (!subscription && event.charge_external_id !== undefined) return { row, event, error: WAITS_FOR_CHARGE }
  if (!subscription) return { row, event, outcome: 'unknown_to_vendor' }
  return { row, event: { ...event, subscription }, told_at }
}

/**
 * Vendors may name a contested payment by another of its ids; asked for that, they answer under the one we
 * know.
 */
async function nameDisputed(
  db: Db,
  kit: PaymentsKit,
  row: InboxRow,
  event: Extract<VendorEvent, { kind: 'dispute' }>,
): Promise<Resolved> {
  const external_id = event.dispute.payment_external_id
  const [known] = await findPaymentIds(db, [{ gateway: row.gateway, external_id }])
  if (known !== undefined) return { row, event }
  const { gateway, config } = kit.gateways.get(row.gateway)
  const reference = { payment_id: '', payment_number: 0, external_id, amount: 0n, currency: '' }
  const payment = await gateway.getPayment(config, reference, kit.gateways.context(row.gateway))
  if (!payment) return { row, event, outcome: 'unknown_to_vendor' }
  return { row, event: { ...event, dispute: { ...event.dispute, payment_external_id: payment.external_id } } }
}
