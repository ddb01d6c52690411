import { z } from 'zod'
import {
  amount,
  amountOrZero,
  currency,
  customerKey,
  metadata,
  pageOf,
  pageQuery,
  storable,
  timestamp,
} from '#http/wire'
import { paymentSchema, paymentWire, type PaymentRow } from '#modules/payments'
import type { LineRow, OrderRow } from './queries.ts'

export const orderStatus = z.enum(['open', 'fulfilled', 'canceled', 'expired'])

export const receiptContact = z
  .strictObject({
    email: z.email().max(254).optional(),
    phone: z
      .string()
      .regex(/^\+?[0-9]{10,15}$/)
      .optional(),
  })
  .refine(
    (contact) => contact.email !== undefined || contact.phone !== undefined,
    'needs an e-mail or a phone',
  )

export const orderLine = z.strictObject({
  price_id: z.string().min(1).max(100),
  quantity: z.int().min(1).max(1000).default(1),
})

export const newOrder = z.strictObject({
  customer_id: customerKey,
  lines: z.array(orderLine).min(1).max(50),
  gateway: z
    .string()
    .min(1)
    .max(50)
    .optional()
    .describe('Absent: the best that can take it, by the customer’s last one and the owner’s order.'),
  country: z
    .string()
    .regex(/^[A-Z]{2}$/)
    .optional()
    .describe('Of the buyer, for the choice of a gateway; default: the customer’s.'),
  return_url: z.url({ protocol: /^https?$/ }).max(2048),
  receipt_contact: receiptContact.optional(),
  capture: z
    .enum(['automatic', 'manual'])
    .default('automatic')
    .describe('manual: authorize now, take later.'),
  method: z.string().max(50).optional().describe('The way to pay in the gateway’s own word, e.g. sbp.'),
  save_payment_method: z.boolean().default(false).describe('The buyer agreed to keep the method.'),
  consent_text: storable(1000)
    .optional()
    .describe('What the buyer read when he agreed to keep the method; kept with it.'),
  payment_method_id: z.string().max(100).optional().describe('Charge this kept method without the buyer.'),
  vendor_subscription_id: z
    .string()
    .max(100)
    .optional()
    .describe('Charge this subscription a vendor keeps beside its plan, at once and without the buyer.'),
  subscription_period_seconds: z
    .int()
    .min(1)
    .max(31_622_400)
    .optional()
    .describe('The gateway charges again after this long by itself; each charge grants the lines once more.'),
  locale: z
    .string()
    .regex(/^[a-z]{2}(-[A-Z]{2})?$/)
    .optional(),
  metadata: metadata.optional(),
})

/** What an order would come to; in the terms of a new one. */
export const orderToPreview = newOrder
  .pick({ customer_id: true, lines: true, gateway: true, vendor_subscription_id: true })
  .extend({
    country: newOrder.shape.country.describe('Of the buyer: the tax goes by it; default: the customer’s.'),
    postal_code: storable(20).optional().describe('Of the buyer, where the tax goes by it.'),
  })

export const orderPreview = z
  .object({
    gateway: z.string().describe('Who would collect it, as named or as chosen.'),
    country: z.string().nullable().describe('Of the buyer, as far as it is known.'),
    price: amount.describe('What the lines cost by the catalog.'),
    subtotal: amountOrZero.describe('Without tax, where it is told; else the price.'),
    tax: amountOrZero.nullable().describe('null: not told, and within the price.'),
    total: amountOrZero.describe('What the buyer pays.'),
    currency,
    is_of_vendor: z.boolean().describe('The figures are the vendor’s, who sells in its own name.'),
  })
  .meta({ id: 'OrderPreview' })

/** Another attempt to pay an order. */
export const newAttempt = z.strictObject({
  gateway: z
    .string()
    .min(1)
    .max(50)
    .optional()
    .describe('Absent: the best that was not tried for this order.'),
  method: z.string().max(50).optional().describe('The way to pay in the gateway’s own word, e.g. sbp.'),
  payment_method_id: z.string().max(100).optional().describe('Charge this kept method without the buyer.'),
})

export const order = z
  .object({
    id: z.string(),
    customer_id: z.string(),
    status: orderStatus,
    gateway: z.string().describe('Who collects it, as named or as chosen.'),
    total: amount,
    currency,
    lines: z.array(
      z.object({
        id: z.string(),
        price_id: z.string(),
        product_id: z.string(),
        name: z.string(),
        quantity: z.int(),
        unit_amount: amount,
        amount,
      }),
    ),
    payment: paymentSchema.nullable(),
    metadata,
    expires_at: timestamp,
    created_at: timestamp,
    fulfilled_at: timestamp.nullable(),
  })
  .meta({ id: 'Order' })

export const orderPage = pageOf(order)
export const orderFilter = pageQuery.extend({
  customer_id: customerKey.optional(),
  status: orderStatus.optional(),
})
export const newRefund = z.strictObject({
  amount: amount
    .optional()
    .describe('Default: what the units that are left are worth, at most what was captured.'),
  reason: z.string().min(1).max(250).default('requested by the customer'),
})

/** The order as the API shows it. */
export function orderWire(
  row: OrderRow,
  lines: readonly LineRow[],
  payment: PaymentRow | undefined,
): z.output<typeof order> {
  return {
    id: row.id,
    customer_id: row.customer_id,
    status: row.status,
    gateway: row.gateway,
    total: row.total,
    currency: row.currency,
    lines: lines
      .filter((line) => line.order_id === row.id)
      .map((line) => ({
        id: line.id,
        price_id: line.price_id,
        product_id: line.product_id,
        name: line.name,
        quantity: Number(line.quantity),
        unit_amount: line.unit_amount,
        amount: line.amount,
      })),
    payment: payment ? paymentWire(payment) : null,
    metadata: row.metadata as z.output<typeof metadata>,
    expires_at: row.expires_at,
    created_at: row.created_at,
    fulfilled_at: row.fulfilled_at,
  }
}
