import { InvalidRequest } from '#kernel/errors'
import { AMOUNT_MAX } from '#kernel/money'

/** Throws InvalidRequest unless the amount is from 1 to 2^53 − 1. */
export function checkAmount(amount: bigint, pointer = '/amount'): void {
  if (amount >= 1n && amount <= AMOUNT_MAX) return
  throw new InvalidRequest([{ pointer, detail: 'must be an integer from 1 to 2^53 − 1' }])
}
