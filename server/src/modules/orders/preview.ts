import type { Db } from '#kernel/db'
import { resolveCustomer } from '#modules/customers'
import {
  chooseGateway,
  downGateways,
  getSubscriptionOf,
  previewPayment,
  refuseDown,
  type PaymentPreview,
} from '#modules/payments'
import { contactOf, describe, priceLines, type NewOrder, type OrdersKit } from './orders.ts'

/** An order that is not placed. */
export type OrderToPreview = Pick<
  NewOrder,
  'customer_id' | 'lines' | 'gateway' | 'country' | 'vendor_subscription_id'
> & { postal_code?: string | undefined }

export interface OrderPreview extends PaymentPreview {
  /** Who would collect it. */
  gateway: string
  /** What the lines cost by our catalog. */
  price: bigint
  /** The buyer's, as far as it is known. */
  country: string | null
}

/**
 * What a buyer would pay for these lines, and to whom, without placing an order: nothing is written. Throws
 * NotFound, NotOnSale, InvalidRequest, GatewayNotAvailable, PaymentRefused; OperationalError when the gateway
 * is down or does not answer.
 */
export async function previewOrder(db: Db, kit: OrdersKit, input: OrderToPreview): Promise<OrderPreview> {
  const customer = await resolveCustomer(db, input.customer_id)
  const { lines, total, currency } = await priceLines(db, 'preview', input.lines, kit.clock.now())
  const { vendor_subscription_id, postal_code } = input
  const charged =
    vendor_subscription_id === undefined
      ? undefined
      : await getSubscriptionOf(db, customer.id, vendor_subscription_id)
  const country = input.country ?? customer.country ?? undefined
  const wish = {
    customer_id: customer.id,
    currency,
    country,
    has_receipt_contact: contactOf(customer) !== undefined,
    has_telegram_id: customer.telegram_id !== null,
    is_held: false,
  }
  const named = input.gateway ?? charged?.gateway
  const down = await downGateways(kit.payments, named)
  if (named !== undefined) await refuseDown(db, kit.payments, { ...wish, gateway: named }, down)
  const gateway = named ?? (await chooseGateway(db, kit.payments, wish, down))
  const description = describe(lines)
  const preview = await previewPayment(db, kit.payments, {
    customer_id: customer.id,
    gateway,
    amount: total,
    currency,
    description,
    country,
    postal_code,
    vendor_subscription_id,
  })
  return { ...preview, gateway, price: total, country: country ?? null }
}
