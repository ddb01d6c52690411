/** States of a hold. All but `placed` are final, except that an expired hold may still be captured, late. */
export type HoldStatus = 'placed' | 'captured' | 'released' | 'expired'

/** From which states each may be reached. */
export const HOLD_STATUS_FROM: Readonly<Record<HoldStatus, readonly HoldStatus[]>> = {
  placed: [],
  captured: ['placed', 'expired'],
  released: ['placed'],
  expired: ['placed'],
}
