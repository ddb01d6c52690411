import { GatewayUnavailable } from '@kopilka/extension'
import type { Gateway, PaymentReference, RefundInput } from '@kopilka/extension'
import { afterEach, expect, it } from 'vitest'
import type { VendorObjects } from './fixture.ts'
import { FAULTS, SHORT_TIMEOUT_MS } from './fault-checks.ts'
import { newId } from './lab.ts'
import { expectNoSecret, outcomeOf } from './leaks.ts'
import { referenceOf } from './payment-checks.ts'
import type { VendorLab } from './payment-checks.ts'

/** What must hold of refunds at a vendor that makes them on call. */
export function checkRefunds<Config>(
  gateway: Gateway<Config>,
  objects: VendorObjects,
  lab: () => VendorLab<Config>,
): void {
  afterEach(() => lab().vendor.clearFaults())

  const paid = async (): Promise<PaymentReference> => {
    const payment = lab().newPayment()
    const created = await lab().create(payment)
    await lab().vendor.complete(created.external_id ?? '', 'succeeded')
    const reference = referenceOf(payment, created)
    // The core refunds only what it has read as paid; some vendors' money is taken by this very reading.
    const { config, context } = lab()
    expect(await gateway.getPayment(config, reference, context)).toMatchObject({ status: 'succeeded' })
    return reference
  }
  const inputOf = (payment: PaymentReference, amount: bigint): RefundInput => {
    const { currency } = payment
    const is_full = amount === payment.amount
    return { refund_id: newId('re'), payment, amount, currency, reason: 'the buyer asked', is_full }
  }
  const refund = (input: RefundInput, timeout_ms?: number) => {
    const { config, context } = lab()
    if (!gateway.refund) throw new Error('checked only for gateways that refund')
    return gateway.refund(config, input, timeout_ms === undefined ? context : { ...context, timeout_ms })
  }
  const may_be_partial = gateway.may_refund_partially !== false

  it('makes one refund of one refund id, asked again and again, with its exact amount', async () => {
    const payment = await paid()
    const input = inputOf(payment, may_be_partial ? 10_001n : payment.amount)
    const { amount, currency, refund_id } = input
    const first = await refund(input)
    expect(['succeeded', 'pending']).toContain(first.status)
    expect(first).toMatchObject({ amount, currency })
    expect(await refund(input)).toMatchObject({ external_id: first.external_id, amount })
    const racing = await Promise.all(Array.from({ length: 5 }, () => outcomeOf(refund(input))))
    expect(racing.filter(({ value }) => value?.status === 'failed')).toEqual([])
    expect(await lab().vendor.refundsOf(refund_id)).toMatchObject([{ amount, currency }])
  })

  it('fails a refund of more than was paid, and the vendor holds no such refund', async () => {
    const payment = await paid()
    const over = inputOf(payment, payment.amount + 1n)
    const failed = await refund(over)
    expect(failed).toMatchObject({ status: 'failed', failure_reason: expect.any(String) })
    expect(failed.external_id).not.toBe('')
    expect(await lab().vendor.refundsOf(over.refund_id)).toEqual([])
  })

  it('fails a second refund that together with the first is more than was paid', async () => {
    const payment = await paid()
    const first = inputOf(payment, may_be_partial ? payment.amount - 1n : payment.amount)
    expect((await refund(first)).status).not.toBe('failed')
    const second = inputOf(payment, may_be_partial ? 2n : payment.amount)
    expect((await refund(second)).status).toBe('failed')
    expect(await lab().vendor.refundsOf(second.refund_id)).toEqual([])
  })

  it.each(FAULTS)('makes one refund when it meets %s and is repeated', async (fault, count) => {
    const { vendor, secrets } = lab()
    const payment = await paid()
    const input = inputOf(payment, payment.amount)
    await vendor.fault(fault, count)
    for (let turn = 0; turn < count; turn++) {
      const { value, error } = await outcomeOf(refund(input, SHORT_TIMEOUT_MS))
      // A gateway that looks for the refund first may find the one an unanswered try has made.
      const is_found = turn > 0 && value?.status !== 'failed' && value?.amount === input.amount
      expect(error instanceof GatewayUnavailable || is_found).toBe(true)
      expectNoSecret(error, secrets)
    }
    await vendor.clearFaults()
    expect((await refund(input)).status).not.toBe('failed')
    expect(await vendor.refundsOf(input.refund_id)).toMatchObject([{ amount: input.amount }])
  })

  if (!gateway.getRefund) return

  it('tells a refund by the id the vendor gave it', async () => {
    const input = inputOf(await paid(), 59_900n)
    const { external_id } = await refund(input)
    const told = await gateway.getRefund?.(lab().config, { ...input, external_id }, lab().context)
    expect(told).toMatchObject({ external_id, amount: input.amount, currency: input.currency })
  })

  if (objects.are_found_by_our_id === false) return

  it('tells a refund by our id, and undefined for one that was never made', async () => {
    const { config, context } = lab()
    const input = inputOf(await paid(), 59_900n)
    const { external_id } = await refund(input)
    const { refund_id, payment, amount, currency } = input
    const reference = { refund_id, payment, amount, currency }
    expect(await gateway.getRefund?.(config, reference, context)).toMatchObject({ external_id, amount })
    expect(
      await gateway.getRefund?.(config, { ...reference, refund_id: newId('re') }, context),
    ).toBeUndefined()
  })
}
