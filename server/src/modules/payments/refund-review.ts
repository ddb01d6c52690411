import type { VendorRefund } from '@kopilka/extension'
import type { Tx } from '#kernel/db'
import { InvalidState } from '#kernel/errors'
import type { PaymentsKit } from './kit.ts'
import { lockPayment } from './payment-queries.ts'
import { WAITS_FOR_PERSON } from './refund-asking.ts'
import type { RefundRow } from './refund-queries.ts'
import { settleRefund } from './refund-words.ts'
import { getRefund } from './refunds.ts'

/** What a person saw in a vendor's cabinet. */
export interface SeenOutcome {
  status: 'succeeded' | 'failed'
  /** The vendor's own number of the refund, where the cabinet shows one. */
  external_id?: string | undefined
}

/**
 * Records what a person found in the vendor's cabinet about a refund nobody else can tell the end of; units,
 * money and receipt follow as from the vendor's own word. The same again changes nothing. Throws NotFound,
 * {@link InvalidState} unless it waits for a person.
 */
export async function recordSeenOutcome(
  tx: Tx,
  kit: PaymentsKit,
  id: string,
  { status, external_id }: SeenOutcome,
): Promise<RefundRow> {
  const { payment_id } = await getRefund(tx, id)
  await lockPayment(tx, payment_id)
  const refund = await getRefund(tx, id)
  const is_open = refund.status === 'unknown' || refund.status === 'pending'
  if (!is_open && refund.status === status && refund.external_id?.startsWith('person:')) return refund
  if (!is_open || refund.failure_reason === null || !WAITS_FOR_PERSON.includes(refund.failure_reason)) {
    throw new InvalidState(`A refund that is ${refund.status} does not wait for a person.`, {
      status_now: refund.status,
    })
  }
  const word: VendorRefund = {
    external_id: refund.external_id ?? external_id ?? `person:${id}`,
    refund_id: id,
    status,
    amount: refund.amount,
    currency: refund.currency,
    ...(status === 'failed' ? { failure_reason: 'not_found_by_a_person' } : {}),
  }
  await settleRefund(tx, kit, id, word)
  return getRefund(tx, id)
}
