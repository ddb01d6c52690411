import { GatewayUnavailable, present, readMoment } from '@kopilka/extension'
import type { VendorSubscription } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, readObject } from './api.ts'
import type { Shop } from './api.ts'
import { isSandbox } from './config.ts'
import { Amount } from './money.ts'
import { paymentIdIn } from './objects.ts'

const SUBSCRIPTIONS = '/v1/billing/subscriptions'

const SubscriptionObject = z.object({
  id: z.string().regex(/^[0-9A-Za-z-]{1,64}$/),
  status: z.string(),
  plan_id: z.string().max(64).optional(),
  custom_id: z.string().max(300).optional(),
  start_time: z.string().optional(),
  billing_info: z
    .object({
      next_billing_time: z.string().optional(),
      last_payment: z.object({ amount: Amount }).optional(),
      cycle_executions: z
        .array(z.object({ tenure_type: z.string(), cycles_completed: z.int() }))
        .optional()
        .catch(undefined),
    })
    .optional(),
})
type SubscriptionObject = z.infer<typeof SubscriptionObject>

/** A subscription PayPal keeps and renews itself. */
export async function getSubscription(shop: Shop, id: string): Promise<VendorSubscription | undefined> {
  const object = await read(shop, id)
  return object && tell(shop, object)
}

/**
 * Ends the renewal for good: the vendor has no way back. What was paid stays usable until the moment that
 * would have been the next payment's; the vendor forgets it with the end, so it is read before.
 */
export async function cancelSubscription(shop: Shop, id: string): Promise<VendorSubscription | undefined> {
  const before = await read(shop, id)
  if (!before || ['CANCELLED', 'EXPIRED'].includes(before.status)) return before && tell(shop, before)
  const path = `${SUBSCRIPTIONS}/${before.id}/cancel`
  const body = { reason: 'canceled by the seller' }
  const reply = await callApi(shop, { method: 'POST', path, key: ['cancel', before.id], body })
  const after = await read(shop, id)
  if (after?.status !== 'CANCELLED') throw new GatewayUnavailable(reply.refusal ?? 'not canceled yet')
  const { expires_at } = tell(shop, before)
  const is_active = before.status === 'ACTIVE' && expires_at !== undefined && expires_at > shop.context.now
  return { ...tell(shop, after), is_active, ...present({ expires_at }) }
}

function read(shop: Shop, id: string): Promise<SubscriptionObject | undefined> {
  return readObject(shop, SubscriptionObject, { path: SUBSCRIPTIONS, id })
}

function tell({ config }: Shop, object: SubscriptionObject): VendorSubscription {
  const is_active = object.status === 'ACTIVE'
  const { next_billing_time, last_payment, cycle_executions = [] } = object.billing_info ?? {}
  const has_paid_cycle = cycle_executions.some(
    ({ tenure_type, cycles_completed }) => tenure_type === 'REGULAR' && cycles_completed > 0,
  )
  const has_trial = cycle_executions.some(({ tenure_type }) => tenure_type === 'TRIAL')
  return {
    external_id: object.id,
    is_active,
    will_renew: is_active,
    is_test: isSandbox(config),
    ...present({
      product_code: object.plan_id,
      is_trial: has_trial ? !has_paid_cycle : undefined,
      started_at: readMoment(object.start_time),
      expires_at: readMoment(next_billing_time),
      amount: last_payment?.amount.amount,
      currency: last_payment?.amount.currency,
      account_id: object.custom_id,
      payment_id: paymentIdIn(object.custom_id),
    }),
  }
}
