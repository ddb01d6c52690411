import { receiptContact, type Receipt, type ReceiptPurpose } from '@kopilka/extension'
import { ReceiptContactNeeded, ReceiptNotPossible } from './errors.ts'
import type { ReadyGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import type { ReceiptRow } from './receipt-queries.ts'
import type { FrozenReceipt } from './receipt-share.ts'

/**
 * Whether the law wants a receipt of a payment through this gateway. The owner may name the gateways; else it
 * is as the gateway itself says: it asks for a contact, or carries the receipt it is given. Only roubles of a
 * named gateway are meant: the law is about sales in Russia, and no other gateway is asked for a contact.
 */
export function isFiscal(
  kit: Pick<PaymentsKit, 'fiscal_gateways'>,
  { gateway, config }: Pick<ReadyGateway, 'gateway' | 'config'>,
  payment: { currency: string; has_receipt: boolean },
): boolean {
  const named = kit.fiscal_gateways ?? 'auto'
  if (named !== 'auto') return named.includes(gateway.id) && payment.currency === 'RUB'
  const needs = gateway.needs?.receipt_contact
  if (typeof needs === 'function' ? needs(config) : needs === true) return true
  const { receipts } = gateway
  return payment.has_receipt && receipts?.isOn(config) === true && receipts.carries.includes('payment')
}

/**
 * The receipt the law wants of a payment to be, with a contact in the vendors' form; undefined where it wants
 * none. Throws {@link ReceiptContactNeeded} and {@link ReceiptNotPossible}.
 */
export function receiptUnderLaw(
  kit: Pick<PaymentsKit, 'fiscal_gateways'>,
  ready: ReadyGateway,
  { currency, receipt }: { currency: string; receipt?: FrozenReceipt },
): FrozenReceipt | undefined {
  const contact = receiptContact(receipt?.contact)
  if (!isFiscal(kit, ready, { currency, has_receipt: contact !== undefined })) return undefined
  if (receipt === undefined || contact === undefined) {
    throw new ReceiptContactNeeded(
      `Send receipt_contact with an e-mail or phone: ${ready.gateway.id} sales need a fiscal receipt.`,
    )
  }
  checkEmail(ready, contact)
  checkRates(ready, receipt)
  return { ...receipt, contact }
}

/** Throws {@link ReceiptContactNeeded} for a phone alone where the vendor would refuse it. */
function checkEmail({ gateway, config }: ReadyGateway, contact: { email?: string }): void {
  const { receipts } = gateway
  if (contact.email !== undefined || !receipts?.isOn(config) || receipts.needsEmail?.(config) !== true) return
  throw new ReceiptContactNeeded(
    `Send receipt_contact with an e-mail: a phone alone is not enough for receipts of ${gateway.id}.`,
  )
}

/** Throws {@link ReceiptNotPossible} for a rate of VAT the vendor has no word for. */
function checkRates({ gateway, config }: ReadyGateway, receipt: Pick<Receipt, 'items'>): void {
  const { receipts } = gateway
  if (!receipts?.isOn(config)) return
  const missing = receipt.items.find(({ vat }) => !receipts.vats.includes(vat))
  if (!missing) return
  throw new ReceiptNotPossible(
    `${gateway.title} has no VAT of ${missing.vat}; it has ${receipts.vats.join(', ')}. ` +
      'Change KOPILKA_FISCAL_VAT or the product’s fiscal_vat, or take another gateway.',
    { gateway: gateway.id, vat: missing.vat },
  )
}

/** Who registers a receipt of this purpose: its operation's own call, a call apart, or a person. */
export function registrarOf(
  ready: Pick<ReadyGateway, 'gateway' | 'config'> | undefined,
  purpose: ReceiptPurpose,
  may_be_carried: boolean,
): ReceiptRow['registrar'] {
  const receipts = ready?.gateway.receipts
  if (!ready || !receipts?.isOn(ready.config)) return 'person'
  if (may_be_carried && receipts.carries.includes(purpose)) return 'operation'
  return receipts.registers.includes(purpose) && ready.gateway.createReceipt ? 'apart' : 'person'
}

/** Whether the vendor tells what became of a receipt of this purpose. */
export function tellsOf(ready: ReadyGateway | undefined, purpose: ReceiptPurpose): boolean {
  const { gateway } = ready ?? {}
  return gateway?.getReceipt !== undefined && (gateway.receipts?.tells.includes(purpose) ?? false)
}

/** What a receipt is about, in the word of the contract with gateways. */
export function purposeOf({ purpose }: Pick<ReceiptRow, 'purpose'>): ReceiptPurpose {
  return purpose === 'full' || purpose === 'prepayment' ? 'payment' : purpose
}
