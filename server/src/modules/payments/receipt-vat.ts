import type { ReceiptItem } from '@kopilka/extension'
import { shareRoundedHalfUp } from '#kernel/money'

type Vat = ReceiptItem['vat']

/**
 * The rate on money taken before anything was given: what is owed then is a part of the whole price, written
 * as a fraction. Pure.
 */
export function prepaymentVat(vat: Vat): Vat {
  const calculated: Partial<Record<Vat, Vat>> = {
    '5': '5/105',
    '7': '7/107',
    '10': '10/110',
    '20': '20/120',
    '22': '22/122',
  }
  return calculated[vat] ?? vat
}

/** The rate on what is given, whether it was written as a fraction or not. Pure. */
export function renderedVat(vat: Vat): Vat {
  return (vat.split('/')[0] ?? vat) as Vat
}

/** The VAT that is part of an amount, in minor units, halves rounded up; undefined: none is owed. Pure. */
export function vatWithin(vat: Vat, amount: bigint): bigint | undefined {
  if (vat === 'none') return undefined
  const percent = BigInt(renderedVat(vat))
  return shareRoundedHalfUp(amount, percent, 100n + percent)
}
