import { InvalidRequest } from '#kernel/errors'
import type { ReadyGateway } from './gateways.ts'
import type { NewPayment } from './payments.ts'

/** Whether a gateway can do what is asked. Throws {@link InvalidRequest} naming the member it cannot do. */
export function checkAbilities({ gateway }: ReadyGateway, input: NewPayment): void {
  if (!gateway.currencies.includes(input.currency)) {
    throw new InvalidRequest([
      { pointer: '/gateway', detail: `${gateway.id} does not take ${input.currency}` },
    ])
  }
  if (input.capture === 'manual' && !gateway.capturePayment) {
    throw new InvalidRequest([{ pointer: '/capture', detail: `${gateway.id} has no two-stage payments` }])
  }
  if (input.saved_method_id !== undefined && !gateway.chargeSavedMethod) {
    throw new InvalidRequest([
      { pointer: '/saved_method_id', detail: `${gateway.id} cannot charge kept methods` },
    ])
  }
  if (input.vendor_subscription_id !== undefined && (input.saved_method_id ?? input.method) !== undefined) {
    throw new InvalidRequest([
      { pointer: '/vendor_subscription_id', detail: 'is charged by itself: leave out how else to pay' },
    ])
  }
  const { subscription_period_seconds: period } = input
  if (period !== undefined && !gateway.subscription_periods_seconds?.includes(period)) {
    const known = gateway.subscription_periods_seconds?.join(', ') ?? 'no period'
    throw new InvalidRequest([
      { pointer: '/subscription_period_seconds', detail: `${gateway.id} renews by itself after: ${known}` },
    ])
  }
  if (gateway.needs?.telegram_id === true && input.telegram_id === undefined) {
    throw new InvalidRequest([
      { pointer: '/customer_id', detail: `${gateway.id} needs a customer with a Telegram id` },
    ])
  }
}
