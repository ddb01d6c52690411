/** What a receipt tells: money taken, goods given against a prepayment, or money given back. */
export type ReceiptPurpose = 'payment' | 'offset' | 'refund'

/** Which fiscal receipts get to the tax office through a vendor, and how. */
export interface ReceiptAbilities<Config = unknown> {
  /** Whether the owner lets this vendor register them. */
  isOn(config: Config): boolean
  /** Those that go with the call of the payment or the refund itself. */
  carries: readonly ReceiptPurpose[]
  /** Those `createReceipt` takes. */
  registers: readonly ReceiptPurpose[]
  /** Those `getReceipt` tells of. */
  tells: readonly ReceiptPurpose[]
  /** Whether receipts must have the buyer's e-mail, for a phone alone is refused. Absent: either will do. */
  needsEmail?(config: Config): boolean
  /** The rates of VAT this vendor has a word for. */
  vats: readonly ReceiptItem['vat'][]
}

export interface CreateReceiptInput {
  receipt_id: string
  kind: 'payment' | 'refund'
  /** True: what is given now was paid for before. Absent: told by the lines' payment mode. */
  is_offset?: boolean
  payment_external_id: string
  refund_external_id?: string
  receipt: Receipt
}

/** How a receipt is named to the vendor: by its id there, else by ours and by the money it is about. */
export interface ReceiptReference {
  receipt_id: string
  external_id?: string
  purpose: ReceiptPurpose
  payment_external_id: string
  refund_external_id?: string
}

export interface VendorReceipt {
  /** A refused receipt the vendor made no object of has an id of ours: `refused:{receipt_id}`. */
  external_id: string
  status: 'pending' | 'succeeded' | 'failed'
  failure_reason?: string
  /** What the tax office knows it by. */
  fiscal?: { document: string; storage: string; attribute: string; registered_at?: Date }
}

/** A receipt in the words of 54-FZ; a gateway turns it into its vendor's form. */
export interface Receipt {
  contact: { email?: string; phone?: string }
  items: readonly ReceiptItem[]
  /** Taxation system 1–6, where the vendor wants it. */
  tax_system?: number
}

export interface ReceiptItem {
  /** 1–128 characters. */
  description: string
  quantity: number
  /** Price of one, minor units; the sum of quantity × unit_amount equals the payment exactly. */
  unit_amount: bigint
  vat: 'none' | '0' | '5' | '7' | '10' | '20' | '22' | '5/105' | '7/107' | '10/110' | '20/120' | '22/122'
  payment_subject: string
  payment_mode: string
}
