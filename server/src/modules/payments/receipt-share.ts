import { receiptContact, type Receipt, type ReceiptItem } from '@kopilka/extension'
import { splitByWeights } from '#kernel/money'

/**
 * A line of a receipt as it is kept. `position` names the line through all its parts; `rendered` is how the
 * line reads once what was paid ahead for is given, absent where nothing is prepaid.
 */
export interface FrozenItem extends ReceiptItem {
  position?: number
  rendered?: { vat: ReceiptItem['vat']; payment_subject: string }
}
export type FrozenReceipt = Omit<Receipt, 'items'> & { items: readonly FrozenItem[] }

/**
 * The receipt of a part of a payment: the whole as it was, otherwise each line with its share of the amount.
 * `taken` is what earlier parts took of each line, by position: no line is ever given back more than it cost.
 * The shares add up to the amount exactly; a line whose share is nothing is left out. Pure.
 */
export function receiptShare<R extends FrozenReceipt>(
  receipt: R,
  amount: bigint,
  taken: ReadonlyMap<number, bigint> = new Map(),
): R {
  const worths = receipt.items.map(worth)
  const positions = receipt.items.map((item, index) => item.position ?? index)
  if (amount === sumOf(worths) && taken.size === 0) return receipt
  const left = worths.map((whole, index) => {
    const rest = whole - (taken.get(positions[index] ?? index) ?? 0n)
    return rest > 0n ? rest : 0n
  })
  // What was taken unknown to us (money given back in the vendor's cabinet) must not hinder the rest.
  const shares = splitByWeights(amount, sumOf(left) >= amount ? left : worths)
  const items = receipt.items.flatMap((item, index): FrozenItem[] => {
    const share = shares[index] ?? 0n
    if (share === 0n) return []
    const position = positions[index] ?? index
    if (share === worths[index]) return [{ ...item, position }]
    return [{ ...item, position, quantity: 1, unit_amount: share }]
  })
  return { ...receipt, items }
}

/** What these lines took, by the position of the line they are a part of. Pure. */
export function takenByLine(items: readonly FrozenItem[]): Map<number, bigint> {
  const taken = new Map<number, bigint>()
  for (const [index, item] of items.entries()) {
    const position = item.position ?? index
    taken.set(position, (taken.get(position) ?? 0n) + worth(item))
  }
  return taken
}

/** How lines paid for ahead read when they are given: full payment, of the thing itself. Pure. */
export function renderedItems(items: readonly FrozenItem[]): FrozenItem[] {
  return items.map(({ rendered, ...item }) =>
    rendered === undefined ? item : { ...item, ...rendered, payment_mode: 'full_payment' },
  )
}

/** A receipt in the words of the contract: without what only we keep. Pure. */
export function plainReceipt(receipt: FrozenReceipt): Receipt {
  return {
    ...receipt,
    items: receipt.items.map(({ position: _position, rendered: _rendered, ...item }) => item),
  }
}

/** The stored receipt as a vendor's call carries it; undefined when there is none, or nobody to get it. */
export function carriedReceipt(stored: unknown): Receipt | undefined {
  if (stored === null) return undefined
  const receipt = reviveReceipt(stored)
  return receiptContact(receipt.contact) === undefined ? undefined : plainReceipt(receipt)
}

/** A receipt as it lies in the database has its amounts as JSON numbers; ours are bigints. */
export function reviveReceipt(stored: unknown): FrozenReceipt {
  const receipt = stored as Omit<FrozenReceipt, 'items' | 'contact'> & {
    items: unknown
    contact?: Receipt['contact'] | null
  }
  return { ...receipt, contact: receipt.contact ?? {}, items: reviveItems(receipt.items) }
}

export function reviveItems(stored: unknown): FrozenItem[] {
  const items = stored as (Omit<FrozenItem, 'unit_amount'> & { unit_amount: number })[]
  return items.map((item) => ({ ...item, unit_amount: BigInt(item.unit_amount) }))
}

/** The price of a line. Quantities have at most three decimals in law; ours are whole numbers. Pure. */
export function worth(item: ReceiptItem): bigint {
  return (item.unit_amount * BigInt(Math.round(item.quantity * 1000))) / 1000n
}

function sumOf(parts: readonly bigint[]): bigint {
  return parts.reduce((sum, part) => sum + part, 0n)
}
