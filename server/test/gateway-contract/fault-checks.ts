import { GatewayUnavailable } from '@kopilka/extension'
import { afterEach, expect, it } from 'vitest'
import type { VendorObjects } from './fixture.ts'
import { expectNoSecret, outcomeOf } from './leaks.ts'
import { unknownId } from './payment-checks.ts'
import type { VendorLab } from './payment-checks.ts'
import type { VendorFault } from './vendor-control.ts'

/** Two turns of a fault are two ways it can go: performed and not performed. */
export const FAULTS: readonly [VendorFault, number][] = [
  ['timeout_before_charge', 1],
  ['timeout_after_charge', 1],
  ['error_500', 2],
  ['error_429', 1],
  ['html_body', 2],
]

/** Long enough for an emulator's answer, short enough for a test that waits for none. */
export const SHORT_TIMEOUT_MS = 500

/** What must hold when the vendor is silent, broken, or says something that is not its form. */
export function checkFaults<Config>(objects: VendorObjects, lab: () => VendorLab<Config>): void {
  afterEach(() => lab().vendor.clearFaults())

  it.each(FAULTS)(
    'throws GatewayUnavailable at %s of a read, and reads on afterwards',
    async (fault, count) => {
      const { gateway, config, context, newPayment, vendor, secrets } = lab()
      const reference = { ...newPayment(), external_id: unknownId(objects) }
      const impatient = { ...context, timeout_ms: SHORT_TIMEOUT_MS }
      await vendor.fault(fault, count, 'reads')
      for (let turn = 0; turn < count; turn++) {
        const { error } = await outcomeOf(gateway.getPayment(config, reference, impatient))
        expect(error).toBeInstanceOf(GatewayUnavailable)
        expectNoSecret(error, secrets)
      }
      expect(await gateway.getPayment(config, reference, context)).toBeUndefined()
    },
  )

  if (objects.are_created_by_call === false) return

  it.each(FAULTS)('makes one payment when creation meets %s and is repeated', async (fault, count) => {
    const { newPayment, vendor, secrets } = lab()
    const payment = newPayment()
    await vendor.fault(fault, count)
    for (let turn = 0; turn < count; turn++) {
      const { value, error } = await outcomeOf(lab().create(payment, { timeout_ms: SHORT_TIMEOUT_MS }))
      // A gateway that looks for the payment first may find the one an unanswered try has made.
      const is_found = turn > 0 && value?.status === 'pending'
      expect(error instanceof GatewayUnavailable || is_found).toBe(true)
      expectNoSecret(error, secrets)
    }
    const { status, external_id } = await lab().create(payment)
    expect(status).toBe('pending')
    const { amount, currency } = payment
    expect(await vendor.paymentsOf(payment.payment_id)).toMatchObject([{ external_id, amount, currency }])
  })

  if (objects.are_found_by_our_id === false) return

  it('finds by our id the payment whose creation was never answered', async () => {
    const { gateway, config, context, newPayment, vendor } = lab()
    const payment = newPayment()
    await vendor.fault('timeout_after_charge', 1)
    const { error } = await outcomeOf(lab().create(payment, { timeout_ms: SHORT_TIMEOUT_MS }))
    expect(error).toBeInstanceOf(GatewayUnavailable)
    const [held] = await vendor.paymentsOf(payment.payment_id)
    const { amount } = payment
    const told = await gateway.getPayment(config, payment, context)
    expect(told).toMatchObject({ status: 'pending', external_id: held?.external_id, amount })
  })
}
