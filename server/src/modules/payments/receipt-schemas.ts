import { VAT_RATES } from '@kopilka/extension'
import { z } from 'zod'
import { amount, amountOrZero, currency, pageOf, pageQuery, timestamp } from '#http/wire'
import type { ReceiptRow } from './receipt-queries.ts'
import { reviveItems, worth } from './receipt-share.ts'
import { RECEIPT_STATUSES } from './receipt-status.ts'
import { vatWithin } from './receipt-vat.ts'

export const receipt = z
  .object({
    id: z.string(),
    kind: z.enum(['payment', 'refund']),
    purpose: z
      .enum(['full', 'prepayment', 'offset', 'refund'])
      .describe('prepayment: paid ahead. offset: given against a prepayment.'),
    status: z
      .enum(RECEIPT_STATUSES)
      .describe('sent: a vendor has it. failed and manual: a person has to act.'),
    registrar: z
      .enum(['operation', 'apart', 'person'])
      .describe('Whether the payment’s or refund’s own call carries it, a call apart, or a person makes it.'),
    payment_id: z.string(),
    refund_id: z.string().nullable(),
    order_id: z.string(),
    customer_id: z.string(),
    gateway: z.string(),
    is_test: z.boolean(),
    amount,
    currency,
    contact: z
      .object({ email: z.string().optional(), phone: z.string().optional() })
      .nullable()
      .describe('Null when the buyer was forgotten.'),
    items: z.array(
      z.object({
        description: z.string(),
        quantity: z.number(),
        unit_amount: amount,
        amount,
        vat: z.enum(VAT_RATES),
        vat_amount: amountOrZero.nullable().describe('The VAT within the amount; null: none is owed.'),
        payment_subject: z.string(),
        payment_mode: z.string(),
      }),
    ),
    tax_system: z.int().nullable(),
    external_id: z.string().nullable(),
    fiscal_document: z.string().nullable(),
    fiscal_storage: z.string().nullable(),
    fiscal_attribute: z.string().nullable(),
    registered_at: timestamp.nullable(),
    failure_reason: z.string().nullable(),
    attempts: z.int(),
    next_attempt_at: timestamp.nullable(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Receipt' })

export const receiptPage = pageOf(receipt)
export const receiptFilter = pageQuery.extend({
  payment_id: z.string().max(100).optional(),
  order_id: z.string().max(100).optional(),
  customer_id: z.string().max(100).optional(),
  status: z.enum(RECEIPT_STATUSES).optional(),
})
const fiscalNumber = z.string().regex(/^\d{1,20}$/, 'must be 1 to 20 digits')
export const recordBody = z.strictObject({
  fiscal_document: fiscalNumber,
  fiscal_storage: fiscalNumber,
  fiscal_attribute: fiscalNumber,
})

/** The receipt as the API shows it. */
export function receiptWire(row: ReceiptRow): z.output<typeof receipt> {
  const { round: _round, offset_check_at: _check, retried_at: _retried, ...shown } = row
  return {
    ...shown,
    contact: row.contact as z.output<typeof receipt>['contact'],
    items: reviveItems(row.items).map((item) => ({
      description: item.description,
      quantity: item.quantity,
      unit_amount: item.unit_amount,
      amount: worth(item),
      vat: item.vat,
      vat_amount: vatWithin(item.vat, worth(item)) ?? null,
      payment_subject: item.payment_subject,
      payment_mode: item.payment_mode,
    })),
  }
}
