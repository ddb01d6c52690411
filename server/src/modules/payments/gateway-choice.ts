import { ruleFor, type OrderRule } from './gateway-order.ts'

/** The built-in gateway that moves no money. */
export const SANDBOX_GATEWAY = 'sandbox'

/** What of a gateway the choice looks at. */
export interface Candidate {
  id: string
  is_test: boolean
  currencies: readonly string[]
  /** The place among those that are set up; the lowest is first. */
  position: number
  needs_receipt_contact: boolean
  needs_telegram_id: boolean
  may_hold: boolean
  /** Its breaker is open: its vendor does not answer. */
  is_down: boolean
}

/** What has to be paid, and by whom. */
export interface Wish {
  mode: 'sandbox' | 'live'
  currency: string
  country?: string | undefined
  has_receipt_contact: boolean
  has_telegram_id: boolean
  /** Authorize now, take later. */
  is_held: boolean
  /** Where the customer last paid with success. */
  last_used?: string | undefined
  /** Gateways that were tried for this order already. */
  tried?: readonly string[]
}

export interface Choice {
  /** Who can take it and is not known to be down, the best first. */
  gateways: string[]
  /** Why each of the others cannot, for people. */
  refused: { gateway: string; reason: RefusalReason }[]
}

type RefusalReason =
  | 'wrong_mode'
  | 'not_in_the_order'
  | 'wrong_currency'
  | 'needs_receipt_contact'
  | 'needs_telegram_id'
  | 'cannot_hold'
  | 'down'

/**
 * Chooses who collects an order that names no gateway: those that can take it, first where the customer last
 * paid, then in the owner's order. A rule of the owner's that fits names all that may be chosen; without one
 * all that are set up may, as they were set up. The sandbox comes last, and never on a live installation;
 * what was tried for this order comes after what was not. Pure.
 */
export function chooseGateways(
  candidates: readonly Candidate[],
  rules: readonly OrderRule[],
  wish: Wish,
): Choice {
  const rule = ruleFor(rules, wish)
  const refused: Choice['refused'] = []
  const able = candidates.filter((candidate) => {
    const reason = refusalOf(candidate, rule, wish)
    if (reason !== undefined) refused.push({ gateway: candidate.id, reason })
    return reason === undefined
  })
  const rank = ({ id, position }: Candidate): number[] => [
    (wish.tried ?? []).includes(id) ? 1 : 0,
    id === SANDBOX_GATEWAY ? 1 : 0,
    id === wish.last_used ? 0 : 1,
    rule ? rule.gateways.indexOf(id) : position,
  ]
  const sorted = able.toSorted((a, b) => compareRanks(rank(a), rank(b)) || (a.id < b.id ? -1 : 1))
  return { gateways: sorted.map(({ id }) => id), refused }
}

function refusalOf(candidate: Candidate, rule: OrderRule | undefined, wish: Wish): RefusalReason | undefined {
  const is_live = wish.mode === 'live'
  if (candidate.is_test === is_live || (is_live && candidate.id === SANDBOX_GATEWAY)) return 'wrong_mode'
  if (rule && !rule.gateways.includes(candidate.id)) return 'not_in_the_order'
  if (!candidate.currencies.includes(wish.currency)) return 'wrong_currency'
  if (wish.is_held && !candidate.may_hold) return 'cannot_hold'
  if (candidate.needs_receipt_contact && !wish.has_receipt_contact) return 'needs_receipt_contact'
  if (candidate.needs_telegram_id && !wish.has_telegram_id) return 'needs_telegram_id'
  return candidate.is_down ? 'down' : undefined
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index])
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0)
}
