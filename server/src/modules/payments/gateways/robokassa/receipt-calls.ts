import { createHash } from 'node:crypto'
import { GatewayUnavailable, callVendor, clipText, present, readAnswer } from '@kopilka/extension'
import type { CreateReceiptInput, ReceiptReference, VendorReceipt } from '@kopilka/extension'
import { z } from 'zod'
import type { Shop } from './api.ts'
import { secondReceipt } from './receipts.ts'
import { signReceipt } from './sign.ts'

const AttachAnswer = z.object({
  ResultCode: z.coerce.number().int(),
  ResultDescription: z.string().nullish(),
})
const fiscalNumber = z.union([z.string().max(40), z.number()]).nullish()
const StatusAnswer = z.object({
  Code: z.coerce.number().int(),
  Description: z.string().nullish(),
  FnNumber: fiscalNumber,
  FiscalDocumentNumber: fiscalNumber,
  FiscalDocumentAttribute: fiscalNumber,
})
/** 0 and 1: accepted and waiting. 2: registered. 1000: the vendor's own failure, which says nothing. */
const WAITING = [0, 1]
const REGISTERED = 2
const INTERNAL = 1000

/** Registers the second receipt of a payment: goods handed over against a prepayment. */
export async function attachReceipt(shop: Shop, input: CreateReceiptInput): Promise<VendorReceipt> {
  const id = receiptNumber(input.receipt_id)
  const ids = { id, origin_id: input.payment_external_id, shop_url: shop.context.base_url }
  const payload = secondReceipt(shop.config, ids, input.receipt)
  if (input.kind === 'refund' || input.is_offset === false || payload === undefined) {
    const failure_reason = payload === undefined ? 'receipt_not_complete' : 'only_offsets_are_registered'
    return { external_id: `refused:${input.receipt_id}`, status: 'failed', failure_reason }
  }
  const answer = readAnswer(AttachAnswer, await callReceipts(shop, 'Attach', payload))
  const code = answer.ResultCode
  if (code === INTERNAL) throw new GatewayUnavailable('result code 1000')
  if (code === REGISTERED) return { external_id: id, status: 'succeeded' }
  if (WAITING.includes(code)) return { external_id: id, status: 'pending' }
  const failure_reason = clipText(`result code ${code}: ${answer.ResultDescription ?? ''}`, 200)
  return { external_id: id, status: 'failed', failure_reason }
}

/**
 * What became of a second receipt. "Error" is said of one that was refused and of one that never arrived: it
 * is believed only about a receipt the vendor had taken before, otherwise there is none. The same number
 * again makes no second receipt.
 */
export async function readSecondReceipt(
  shop: Shop,
  reference: ReceiptReference,
): Promise<VendorReceipt | undefined> {
  if (reference.purpose !== 'offset') return undefined
  const id = receiptNumber(reference.receipt_id)
  const payload = { merchantId: shop.config.merchant_login, id }
  const answer = readAnswer(StatusAnswer, await callReceipts(shop, 'Status', payload))
  if (answer.Code === INTERNAL) throw new GatewayUnavailable('result code 1000')
  if (WAITING.includes(answer.Code)) return { external_id: id, status: 'pending' }
  if (answer.Code === REGISTERED) {
    return { external_id: id, status: 'succeeded', ...present({ fiscal: fiscalOf(answer) }) }
  }
  if (reference.external_id === undefined) return undefined
  const failure_reason = clipText(`result code ${answer.Code}: ${answer.Description ?? ''}`, 200)
  return { external_id: id, status: 'failed', failure_reason }
}

async function callReceipts({ config, context }: Shop, verb: 'Attach' | 'Status', payload: object) {
  const answer = await callVendor({
    method: 'POST',
    url: `${config.receipts_url}/RoboFiscal/Receipt/${verb}`,
    headers: { 'content-type': 'application/json' },
    body: signReceipt(config.hash, payload, config.password1),
    timeout_ms: context.timeout_ms,
  })
  return answer.json()
}

function fiscalOf(answer: z.infer<typeof StatusAnswer>): VendorReceipt['fiscal'] {
  const { FiscalDocumentNumber: document, FnNumber: storage, FiscalDocumentAttribute: attribute } = answer
  if (!document || !storage || !attribute) return undefined
  return { document: String(document), storage: String(storage), attribute: String(attribute) }
}

/** The vendor wants an integer: 62 bits of a digest of our id, so that a repeat has the same. */
function receiptNumber(receipt_id: string): string {
  const bytes = createHash('sha256').update(receipt_id).digest()
  return String(1n + (bytes.readBigUInt64BE() >> 2n))
}
