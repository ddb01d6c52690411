import { AMOUNT_MAX } from './money.ts'
import { assert } from './errors.ts'

/**
 * JSON as we send it: bigints as integers (never above 2^53 − 1), dates as ISO 8601 in UTC.
 * Members that are undefined are left out.
 */
export function wireJson(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) => {
    if (typeof member !== 'bigint') return member
    assert(member <= AMOUNT_MAX && member >= -AMOUNT_MAX, 'an amount above 2^53 − 1 reached the wire')
    return Number(member)
  })
}
