import type { Receipt, ReceiptItem } from '@kopilka/extension'
import { splitByWeights } from '#kernel/money'

/**
 * The receipt of a part of a payment: the whole as it was, otherwise each item with its share of the amount.
 * The shares add up to the amount exactly; an item whose share is nothing is left out. Pure.
 */
export function receiptShare(receipt: Receipt, amount: bigint): Receipt {
  const worths = receipt.items.map(worth)
  if (amount === worths.reduce((sum, part) => sum + part, 0n)) return receipt
  const shares = splitByWeights(amount, worths)
  const items = receipt.items.flatMap((item, index): ReceiptItem[] => {
    const share = shares[index] ?? 0n
    return share > 0n ? [{ ...item, quantity: 1, unit_amount: share }] : []
  })
  return { ...receipt, items }
}

/** Quantities have at most three decimals in law; ours are whole numbers. */
function worth(item: ReceiptItem): bigint {
  return (item.unit_amount * BigInt(Math.round(item.quantity * 1000))) / 1000n
}
