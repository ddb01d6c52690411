import { isId } from '#kernel/ids'

/** How a caller may name a customer: by our id, or by one of the two identities that are unique. */
export type CustomerKey = { id: string } | { external_id: string } | { telegram_id: bigint }

/** Longest external id; with its prefix it still fits one segment of a path. */
export const EXTERNAL_ID_MAX = 200

/** Telegram promises that an id has at most 52 significant bits; 2^53 − 1 is what JSON keeps exact. */
const TELEGRAM_ID_MAX = 9_007_199_254_740_991n

/**
 * Reads `cus_…`, `external_id:…` or `telegram_id:…`. Answers undefined for anything else:
 * such a text names no customer, which is all its sender needs to know.
 */
export function parseCustomerKey(text: string): CustomerKey | undefined {
  if (isId('cus', text)) return { id: text }
  const colon = text.indexOf(':')
  const value = text.slice(colon + 1)
  switch (text.slice(0, Math.max(colon, 0))) {
    case 'external_id':
      return isExternalId(value) ? { external_id: value } : undefined
    case 'telegram_id': {
      const telegram_id = parseTelegramId(value)
      return telegram_id === undefined ? undefined : { telegram_id }
    }
    default:
      return undefined
  }
}

/** 1 to 200 characters, none of them a control character, no space at the ends, no half of a character. */
export function isExternalId(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- refusing them is the point
  const has_odd_form = /[\u0000-\u001f\u007f]|^\s|\s$/.test(text)
  return text.length > 0 && text.length <= EXTERNAL_ID_MAX && !has_odd_form && text.isWellFormed()
}

/** The number in a text of digits without leading zeros, 1 to 2^53 − 1; undefined for anything else. */
export function parseTelegramId(text: string): bigint | undefined {
  if (!/^[1-9]\d{0,15}$/.test(text)) return undefined
  const value = BigInt(text)
  return value <= TELEGRAM_ID_MAX ? value : undefined
}
