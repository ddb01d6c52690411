import {
  GatewayUnavailable,
  clipText,
  present,
  readAnswer,
  refusedRefund,
  vendorKey,
} from '@kopilka/extension'
import type { RefundInput, RefundReference, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, isSafeId, readObject } from './api.ts'
import type { Shop } from './api.ts'
import { isSandbox } from './config.ts'
import { toMoney } from './money.ts'
import type { Money } from './money.ts'
import {
  CreatedOrder,
  RefundObject,
  capturesOf,
  isTaken,
  parentId,
  paymentIdIn,
  refundIdIn,
  refundsOf,
  toRefund,
  unitOf,
} from './objects.ts'
import type { OrderObject } from './objects.ts'
import { readCapture, readOrder } from './orders.ts'

const REFUNDS = '/v2/payments/refunds'

const SaleRefundObject = z.object({ id: z.string().regex(/^[0-9A-Za-z]{1,64}$/), state: z.string() })

/**
 * Gives money of a captured payment back. The order shows all its refunds, so a repeat after an unknown
 * outcome finds the first one, also when the vendor has forgotten the key.
 */
export async function refund(shop: Shop, input: RefundInput): Promise<VendorRefund> {
  const order = await readOrder(shop, input.payment)
  const capture = order && capturesOf(order).find(isTaken)
  const amount = toMoney(input)
  if (!amount) return refusedRefund(input, 'amount_not_supported')
  // A charge of the vendor's own subscription is no order, but a sale of the older API.
  if (!order && input.payment.external_id !== undefined) return refundSale(shop, input, amount)
  if (!order || !capture) return refusedRefund(input, 'payment_not_found')
  const earlier = findOurs(order, input.refund_id)
  if (earlier) return tell(shop, earlier, order)
  const reply = await callApi(shop, {
    method: 'POST',
    path: `/v2/payments/captures/${capture.id}/refund`,
    key: [input.refund_id],
    body: {
      amount,
      custom_id: vendorKey([input.refund_id], 127),
      ...present({ note_to_payer: clipText(input.reason.replace(/\s+/g, ' '), 255) || undefined }),
    },
  })
  if (reply.refusal === undefined) {
    const { id } = readAnswer(CreatedOrder.pick({ id: true }), reply.body)
    const made = await readObject(shop, RefundObject, { path: REFUNDS, id })
    if (!made) throw new GatewayUnavailable('a refund is gone that was just made')
    return tell(shop, made, order)
  }
  const now = await readOrder(shop, { ...input.payment, external_id: order.id })
  const made = now && (findOurs(now, input.refund_id) ?? findInCabinet(now, input, reply.issue))
  return made ? tell(shop, made, order) : refusedRefund(input, reply.refusal)
}

/** By the vendor's id, or by ours among the refunds of the order. */
export async function getRefund(shop: Shop, reference: RefundReference): Promise<VendorRefund | undefined> {
  const { external_id, payment } = reference
  if (payment.external_id !== undefined || external_id === undefined) {
    const order = await readOrder(shop, payment)
    const found =
      order &&
      (external_id === undefined
        ? findOurs(order, reference.refund_id)
        : refundsOf(order).find(({ id }) => id === external_id))
    if (found) return tell(shop, found, order)
  }
  if (external_id === undefined) return undefined
  const made = await readObject(shop, RefundObject, { path: REFUNDS, id: external_id })
  const capture_id = made && parentId(made.links)
  if (!made) return undefined
  const capture = capture_id === undefined ? undefined : await readCapture(shop, capture_id)
  return toRefund(shop.config, made, {
    external_id: capture?.supplementary_data?.related_ids?.order_id,
    payment_id: paymentIdIn(capture?.custom_id),
  })
}

/**
 * Gives money of a subscription's sale back. No list shows such refunds: after an unknown outcome the repeat
 * under the same key, which the vendor keeps for 45 days, answers with the first one.
 */
async function refundSale(shop: Shop, input: RefundInput, amount: Money): Promise<VendorRefund> {
  const { external_id = '' } = input.payment
  if (!isSafeId(external_id)) return refusedRefund(input, 'payment_not_found')
  const { value: total, currency_code: currency } = amount
  const reply = await callApi(shop, {
    method: 'POST',
    path: `/v1/payments/sale/${external_id}/refund`,
    key: [input.refund_id],
    body: { amount: { total, currency } },
  })
  if (reply.refusal !== undefined)
    return refusedRefund(input, reply.is_missing ? 'payment_not_found' : reply.refusal)
  const { id, state } = readAnswer(SaleRefundObject, reply.body)
  const is_over = state === 'failed' || state === 'cancelled'
  return {
    external_id: id,
    refund_id: input.refund_id,
    payment_external_id: external_id,
    status: state === 'completed' ? 'succeeded' : is_over ? 'failed' : 'pending',
    amount: input.amount,
    currency: input.currency,
    is_test: isSandbox(shop.config),
    ...present({ failure_reason: is_over ? state : undefined }),
  }
}

function findOurs(order: OrderObject, refund_id: string): RefundObject | undefined {
  return refundsOf(order).find(({ custom_id }) => custom_id !== undefined && custom_id === refund_id)
}

/** All was given back by hand at the vendor before our request came: then that is the refund. */
function findInCabinet(order: OrderObject, input: RefundInput, issue: string): RefundObject | undefined {
  if (issue !== 'CAPTURE_FULLY_REFUNDED' || !input.is_full) return undefined
  const foreign = refundsOf(order).filter(
    ({ custom_id, status, amount }) =>
      refundIdIn(custom_id) === undefined &&
      status === 'COMPLETED' &&
      amount.amount === input.amount &&
      amount.currency === input.currency,
  )
  return foreign.length === 1 ? foreign[0] : undefined
}

function tell({ config }: Shop, object: RefundObject, order: OrderObject): VendorRefund {
  return toRefund(config, object, {
    external_id: order.id,
    payment_id: paymentIdIn(unitOf(order).custom_id),
  })
}
