/** Places a unit can be, per wallet. What a customer has at hand is `wallet`, what is reserved is `held`. */
export type Account =
  | 'issued'
  | 'scheduled'
  | 'wallet'
  | 'held'
  | 'consumed'
  | 'expired'
  | 'revoked'
  | 'adjustment'
  | 'transferred'
  | 'debt'

/**
 * From where to where each kind of transfer moves units; the same as ledger.transfer_kinds, which a test
 * compares.
 */
export const TRANSFER_KINDS = {
  grant: ['issued', 'wallet'],
  grant_schedule: ['issued', 'scheduled'],
  grant_start: ['scheduled', 'wallet'],
  spend: ['wallet', 'consumed'],
  hold: ['wallet', 'held'],
  capture: ['held', 'consumed'],
  late_capture: ['wallet', 'consumed'],
  release: ['held', 'wallet'],
  expiry: ['wallet', 'expired'],
  revocation: ['wallet', 'revoked'],
  scheduled_revocation: ['scheduled', 'revoked'],
  reinstatement: ['revoked', 'wallet'],
  scheduled_reinstatement: ['revoked', 'scheduled'],
  reversal: ['consumed', 'wallet'],
  adjustment_in: ['adjustment', 'wallet'],
  adjustment_out: ['wallet', 'adjustment'],
  transfer_in: ['transferred', 'wallet'],
  transfer_out: ['wallet', 'transferred'],
  scheduled_transfer_in: ['transferred', 'scheduled'],
  scheduled_transfer_out: ['scheduled', 'transferred'],
  debt: ['debt', 'revoked'],
  debt_repayment: ['wallet', 'debt'],
  debt_cancellation: ['revoked', 'debt'],
  debt_write_off: ['adjustment', 'debt'],
  debt_transfer_in: ['debt', 'transferred'],
  debt_transfer_out: ['transferred', 'debt'],
} as const satisfies Record<string, readonly [Account, Account]>

/** Every kind of movement. */
export type TransferKind = keyof typeof TRANSFER_KINDS

/** Kinds that are a use by the customer; each can be reversed. */
export const SPEND_KINDS: ReadonlySet<string> = new Set<TransferKind>(['spend', 'capture', 'late_capture'])

/** From where to where a kept transfer moved units. */
export function accountsOf(kind: string): readonly [Account, Account] {
  return TRANSFER_KINDS[kind as TransferKind]
}
