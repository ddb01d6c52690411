import { present } from '@kopilka/extension'
import type { PreviewPaymentInput, PreviewedPayment } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, isVendorId, readData } from './api.ts'
import type { Seller } from './api.ts'
import { Amount, Currency } from './objects.ts'
import { priceOf } from './price.ts'

const Details = z.object({
  totals: z.object({ subtotal: Amount, tax: Amount, total: Amount, currency_code: Currency }),
})
const TransactionPreview = z.object({ details: Details })
const ChargePreview = z.object({ immediate_transaction: z.object({ details: Details }) })

/** What the buyer would pay, tax taken out of our price by his address; nothing is made. */
export function previewPayment(seller: Seller, input: PreviewPaymentInput): Promise<PreviewedPayment> {
  return input.subscription_external_id === undefined
    ? previewTransaction(seller, input)
    : previewCharge(seller, input, input.subscription_external_id)
}

async function previewTransaction(seller: Seller, input: PreviewPaymentInput): Promise<PreviewedPayment> {
  const { country, postal_code } = input
  const address = country === undefined ? undefined : { country_code: country, ...present({ postal_code }) }
  const reply = await callApi(seller, {
    method: 'POST',
    path: '/transactions/preview',
    body: {
      items: [{ quantity: 1, price: priceOf(seller.config, { ...input, fallback: 'Order' }) }],
      currency_code: input.currency,
      ...present({ address }),
    },
  })
  if (reply.refusal !== undefined) return { refusal: reply.refusal }
  return toPreview(readData(TransactionPreview, reply.body).details)
}

async function previewCharge(
  seller: Seller,
  input: PreviewPaymentInput,
  subscription_id: string,
): Promise<PreviewedPayment> {
  if (!isVendorId('sub', subscription_id)) return { refusal: 'subscription_not_found' }
  const reply = await callApi(seller, {
    method: 'POST',
    path: `/subscriptions/${subscription_id}/charge/preview`,
    body: {
      effective_from: 'immediately',
      items: [{ quantity: 1, price: priceOf(seller.config, { ...input, fallback: 'Order' }) }],
    },
  })
  if (reply.refusal !== undefined) return { refusal: reply.refusal }
  return toPreview(readData(ChargePreview, reply.body).immediate_transaction.details)
}

function toPreview({ totals }: z.infer<typeof Details>): PreviewedPayment {
  const { subtotal, tax, total, currency_code: currency } = totals
  return { subtotal, tax, total, currency }
}
