import type { Sql } from '#kernel/db'
import { InvalidRequest, InvalidState } from '#kernel/errors'
import type { PaymentsKit } from './kit.ts'
import type { VendorSubscriptionRow } from './vendor-subscription-queries.ts'
import { getSubscriptionOf, presentStatus } from './vendor-subscription-status.ts'

/** What a vendor's subscription is to be charged for, beside its plan. */
export interface WantedCharge {
  vendor_subscription_id: string
  customer_id: string
  gateway: string
  currency: string
}

/**
 * The subscription, if it can be charged like this. Throws NotFound when it is not there or another
 * customer's, {@link InvalidRequest} for what its gateway cannot do, {@link InvalidState} when it is over.
 */
export async function getChargeable(
  sql: Sql,
  kit: PaymentsKit,
  { vendor_subscription_id, customer_id, gateway, currency }: WantedCharge,
): Promise<VendorSubscriptionRow> {
  const row = await getSubscriptionOf(sql, customer_id, vendor_subscription_id)
  const wrong =
    row.gateway !== gateway
      ? `belongs to the gateway ${row.gateway}`
      : !kit.gateways.get(gateway).gateway.chargeSubscription
        ? `${gateway} cannot charge its subscriptions beside their plan`
        : row.currency !== null && row.currency !== currency
          ? `is charged in ${row.currency}`
          : undefined
  if (wrong !== undefined) throw new InvalidRequest([{ pointer: '/vendor_subscription_id', detail: wrong }])
  if (presentStatus(row, kit.clock.now()) === 'expired')
    throw new InvalidState('This subscription is over and cannot be charged.', { status_now: 'expired' })
  return row
}
