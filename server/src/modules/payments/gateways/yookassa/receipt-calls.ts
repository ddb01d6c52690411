import {
  GatewayUnavailable,
  findInPages,
  present,
  readAnswer,
  readMoment,
  receiptTotal,
} from '@kopilka/extension'
import type { CreateReceiptInput, ReceiptReference, VendorReceipt } from '@kopilka/extension'
import { z } from 'zod'
import { callApi, readObject, readPage } from './api.ts'
import type { Shop } from './api.ts'
import { vendorMoney } from './objects.ts'
import { receiptForm, settlementType } from './receipts.ts'

const PAGES_MAX = 5

const ReceiptObject = z.object({
  id: z.string().min(1).max(64),
  type: z.string().max(40),
  status: z.string().max(40),
  refund_id: z.string().max(64).optional(),
  fiscal_document_number: z.string().max(40).optional(),
  fiscal_storage_number: z.string().max(40).optional(),
  fiscal_attribute: z.string().max(40).optional(),
  registered_at: z.string().max(40).optional(),
  settlements: z.array(z.object({ type: z.string().max(40) })).optional(),
})
type ReceiptObject = z.infer<typeof ReceiptObject>

/** Registers a receipt by its own call. Its currency is the rouble: fiscal receipts know no other. */
export async function registerReceipt(shop: Shop, input: CreateReceiptInput): Promise<VendorReceipt> {
  const total = { amount: receiptTotal(input.receipt) ?? 0n, currency: 'RUB' }
  const form = receiptForm({ ...shop.config, receipts: true }, total, input.receipt)
  if (form.refusal !== undefined) return refused(input, form.refusal)
  const type = settlementType(input.kind, input.receipt, input.is_offset)
  const reply = await callApi(shop, {
    method: 'POST',
    path: '/receipts',
    key: [input.receipt_id],
    body: {
      ...form.receipt,
      type: input.kind,
      payment_id: input.kind === 'payment' ? input.payment_external_id : undefined,
      refund_id: input.kind === 'refund' ? input.refund_external_id : undefined,
      send: true,
      settlements: [{ type, amount: vendorMoney(total) }],
    },
  })
  if (reply.refusal === undefined) return toReceipt(readAnswer(ReceiptObject, reply.body))
  if (!reply.is_key_reused) return refused(input, reply.refusal)
  // The first try had another body, so its receipt stands: a refusal here would hide it.
  const purpose = input.kind === 'refund' ? 'refund' : type === 'prepayment' ? 'offset' : 'payment'
  const made = await readReceipt(shop, { ...input, purpose })
  if (made) return made
  throw new GatewayUnavailable('idempotence key reused')
}

/**
 * By the vendor's id, else among the receipts of its payment or refund: there is one of each purpose. One
 * that was canceled is answered only when there is no other.
 */
export async function readReceipt(
  shop: Shop,
  reference: ReceiptReference,
): Promise<VendorReceipt | undefined> {
  if (reference.external_id !== undefined && /^[\w-]{1,64}$/.test(reference.external_id)) {
    const object = await readObject(shop, '/receipts', reference.external_id, ReceiptObject)
    return object && toReceipt(object)
  }
  const { purpose, payment_external_id, refund_external_id } = reference
  const query: Record<string, string> =
    purpose === 'refund' ? { refund_id: refund_external_id ?? '' } : { payment_id: payment_external_id }
  let canceled: ReceiptObject | undefined
  const found = await findInPages(
    (cursor) => readPage(shop, '/receipts', { ...query, ...present({ cursor }) }, ReceiptObject),
    (object) => {
      if (purposeOf(object) !== purpose) return false
      if (object.status === 'canceled') canceled ??= object
      return object.status !== 'canceled'
    },
    PAGES_MAX,
  )
  const object = found ?? canceled
  return object && toReceipt(object)
}

function purposeOf(object: ReceiptObject): ReceiptReference['purpose'] {
  if (object.type === 'refund') return 'refund'
  const is_offset = object.settlements?.some(({ type }) => type === 'prepayment') ?? false
  return is_offset ? 'offset' : 'payment'
}

function toReceipt(object: ReceiptObject): VendorReceipt {
  const { id, status } = object
  if (status === 'canceled') return { external_id: id, status: 'failed', failure_reason: 'canceled' }
  const { fiscal_document_number: document, fiscal_storage_number: storage } = object
  const { fiscal_attribute: attribute } = object
  const registered_at = readMoment(object.registered_at)
  const fiscal =
    document === undefined || storage === undefined || attribute === undefined
      ? undefined
      : { document, storage, attribute, ...present({ registered_at }) }
  return {
    external_id: id,
    status: status === 'succeeded' ? 'succeeded' : 'pending',
    ...present({ fiscal }),
  }
}

function refused({ receipt_id }: CreateReceiptInput, failure_reason: string): VendorReceipt {
  return { external_id: `refused:${receipt_id}`, status: 'failed', failure_reason }
}
