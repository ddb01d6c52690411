import { DomainError, InvalidRequest } from '#kernel/errors'

/**
 * The wallet does not hold enough. Nothing was changed. `available` and `required` are in the unit's
 * smallest part.
 */
export class InsufficientFunds extends DomainError {
  readonly code = 'insufficient_funds'
  readonly status = 402
  readonly title = 'The wallet does not hold enough for this.'
  constructor(unit: string, available: bigint, required: bigint) {
    super(`The wallet has ${available} ${unit} available, ${required} are required.`, {
      unit,
      available,
      required,
    })
  }
}

/** The unit in a body does not exist. */
export function unknownUnit(unit: string, pointer = '/unit'): InvalidRequest {
  return new InvalidRequest([{ pointer, detail: `there is no unit ${unit}` }])
}

/** The wallet would hold more than any reader of JSON can keep exact. */
export function balanceTooLarge(pointer = '/amount'): InvalidRequest {
  return new InvalidRequest([{ pointer, detail: 'would bring the balance above 2^53 − 1' }])
}
