import { clipText } from '@kopilka/extension'
import type { Config } from './config.ts'

/** Names of prices may have this many characters, and of the products made for them. */
const NAME_MAX = 50

/** A price made for one purchase. `name_max` is the vendor's limit of the call it goes into. */
export function priceOf(
  { product_id }: Config,
  sold: { amount: bigint; currency: string; description: string; fallback: string },
  name_max = NAME_MAX,
): object {
  const name = clipText(sold.description, name_max) || sold.fallback
  return {
    description: name.length > 1 ? name : `${name}.`,
    name,
    unit_price: { amount: String(sold.amount), currency_code: sold.currency },
    // The price was told to the buyer as a whole: tax is taken out of it, not put on top.
    tax_mode: 'internal',
    quantity: { minimum: 1, maximum: 1 },
    ...(product_id === undefined ? { product: { name, tax_category: 'standard' } } : { product_id }),
  }
}
