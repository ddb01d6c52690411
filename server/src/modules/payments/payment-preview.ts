import type { Db } from '#kernel/db'
import { InvalidRequest } from '#kernel/errors'
import { getChargeable } from './chargeable.ts'
import { PaymentRefused } from './errors.ts'
import { callGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'

/** A buyer waits for it. */
const TIMEOUT_MS = 10_000

/** What a buyer would pay, in the currency's minor unit. */
export interface PaymentPreview {
  subtotal: bigint
  /** Null where nobody tells: it is within our price. */
  tax: bigint | null
  total: bigint
  currency: string
  is_of_vendor: boolean
}

/**
 * What a buyer would pay through this gateway now: the vendor's word where it sells in its own name, else our
 * price as it is. Writes nothing, here and there. Throws GatewayNotAvailable, {@link PaymentRefused} when the
 * vendor would not sell it so, InvalidRequest, NotFound and InvalidState for a subscription that cannot be
 * charged; OperationalError when the vendor does not answer.
 */
export async function previewPayment(
  db: Db,
  kit: PaymentsKit,
  input: {
    customer_id: string
    gateway: string
    amount: bigint
    currency: string
    description: string
    country: string | undefined
    postal_code: string | undefined
    vendor_subscription_id: string | undefined
  },
): Promise<PaymentPreview> {
  const { amount, currency, description, country, postal_code, vendor_subscription_id } = input
  const { gateway, config } = kit.gateways.get(input.gateway)
  if (!gateway.currencies.includes(currency)) {
    throw new InvalidRequest([{ pointer: '/gateway', detail: `${gateway.id} does not take ${currency}` }])
  }
  const charged =
    vendor_subscription_id === undefined
      ? undefined
      : await getChargeable(db, kit, { ...input, vendor_subscription_id })
  const preview = gateway.previewPayment?.bind(gateway)
  if (!preview) return { subtotal: amount, tax: null, total: amount, currency, is_of_vendor: false }
  const asked = {
    amount,
    currency,
    description,
    ...(country === undefined ? {} : { country }),
    ...(postal_code === undefined ? {} : { postal_code }),
    ...(charged === undefined ? {} : { subscription_external_id: charged.external_id }),
  }
  const context = { ...kit.gateways.context(gateway.id), timeout_ms: TIMEOUT_MS }
  const told = await callGateway(() => preview(config, asked, context))
  if (told.refusal !== undefined) {
    throw new PaymentRefused(`${gateway.title} would not sell this so: ${told.refusal}.`, {
      reason: told.refusal,
    })
  }
  const { subtotal, tax, total } = told
  return { subtotal, tax, total, currency: told.currency, is_of_vendor: true }
}
