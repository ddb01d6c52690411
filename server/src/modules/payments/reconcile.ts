import type { VendorDispute, VendorPayment, VendorRefund } from '@kopilka/extension'
import { fromVendorStatus, isSettled, type PaymentStatus } from './payment-status.ts'

/** What of our payment is compared. */
export interface OwnPayment {
  id: string
  external_id: string | null
  status: PaymentStatus
  amount: bigint
  captured_amount: bigint
  refunded_amount: bigint
  currency: string
}

/** What of our refund is compared. */
export interface OwnRefund {
  id: string
  external_id: string | null
  status: string
  amount: bigint
  currency: string
}

export interface Difference {
  kind:
    | 'payment_missing_here'
    | 'payment_missing_at_vendor'
    | 'payment_status_differs'
    | 'payment_amount_differs'
    | 'refunded_amount_differs'
    | 'refund_missing_here'
    | 'refund_missing_at_vendor'
    | 'refund_status_differs'
    | 'refund_amount_differs'
    | 'dispute_missing_here'
    | 'dispute_status_differs'
  /** Ours, where there is one. */
  id: string | null
  external_id: string | null
  ours: string
  theirs: string
  /** What a person may do about it; nothing is done by itself. */
  proposed: string
}

/**
 * Compares a vendor's payments with ours, both ways. Payments that nobody paid are no difference: vendors
 * forget them. Where the list names payments by another id than ours have, ours is told by our own id, for
 * the first that names it: another one is other money. Pure.
 */
export function comparePayments(
  ours: readonly OwnPayment[],
  theirs: readonly VendorPayment[],
  { has_other_ids = false }: { has_other_ids?: boolean } = {},
): Difference[] {
  const by_external = new Map(
    ours.flatMap((own) => (own.external_id === null ? [] : [[own.external_id, own] as const])),
  )
  const by_id = new Map(ours.map((own) => [own.id, own]))
  const seen = new Set<string>()
  const found = theirs.flatMap((word): Difference[] => {
    const named = by_id.get(word.payment_id ?? '')
    const is_same = has_other_ids ? named !== undefined && !seen.has(named.id) : isSame(named, word)
    const own = by_external.get(word.external_id) ?? (is_same ? named : undefined)
    if (own) seen.add(own.id)
    return own ? differencesOf(own, word) : missingHere(word)
  })
  const missing = ours
    .filter((own) => !seen.has(own.id) && (isSettled(own.status) || own.status === 'authorized'))
    .map((own): Difference => ({
      kind: 'payment_missing_at_vendor',
      id: own.id,
      external_id: own.external_id,
      ours: own.status,
      theirs: 'absent',
      proposed: 'Look the payment up at the vendor by its id; units were granted for it.',
    }))
  return [...found, ...missing]
}

/** As {@link comparePayments}, for refunds. Pure. */
export function compareRefunds(ours: readonly OwnRefund[], theirs: readonly VendorRefund[]): Difference[] {
  const by_external = new Map(
    ours.flatMap((own) => (own.external_id === null ? [] : [[own.external_id, own] as const])),
  )
  const by_id = new Map(ours.map((own) => [own.id, own]))
  const seen = new Set<string>()
  const found = theirs.flatMap((word): Difference[] => {
    const own = by_external.get(word.external_id) ?? by_id.get(word.refund_id ?? '')
    if (own) seen.add(own.id)
    const place = { id: own?.id ?? null, external_id: word.external_id }
    if (!own) {
      if (word.status !== 'succeeded') return []
      const proposed =
        'Repeat the vendor’s notification, or record the refund: its units are still with the customer.'
      return [
        {
          kind: 'refund_missing_here',
          ...place,
          ours: 'absent',
          theirs: `${word.amount} ${word.currency}`,
          proposed,
        },
      ]
    }
    if (own.amount !== word.amount || own.currency !== word.currency) {
      const proposed = 'Ask the vendor; do not refund again before it is clear.'
      return [
        {
          kind: 'refund_amount_differs',
          ...place,
          ours: `${own.amount} ${own.currency}`,
          theirs: `${word.amount} ${word.currency}`,
          proposed,
        },
      ]
    }
    if (own.status === word.status || (own.status === 'unknown' && word.status === 'pending')) return []
    const proposed =
      'The janitor asks about it by itself; when it stays so, look at the notifications of this refund.'
    return [{ kind: 'refund_status_differs', ...place, ours: own.status, theirs: word.status, proposed }]
  })
  const missing = ours
    .filter((own) => own.status === 'succeeded' && !seen.has(own.id) && !isToldByNobody(own.external_id))
    .map((own): Difference => ({
      kind: 'refund_missing_at_vendor',
      id: own.id,
      external_id: own.external_id,
      ours: `${own.amount} ${own.currency}`,
      theirs: 'absent',
      proposed: 'Look it up at the vendor: the customer may wait for this money.',
    }))
  return [...found, ...missing]
}

/**
 * Refunds of ours that have no name at a vendor who can be asked by that name only: what became of them shows
 * in its cabinet alone. Pure.
 */
export function refundsToLookUp(ours: readonly OwnRefund[]): Difference[] {
  return ours
    .filter((own) => own.external_id === null && own.status === 'unknown')
    .map((own): Difference => ({
      kind: 'refund_missing_at_vendor',
      id: own.id,
      external_id: null,
      ours: `unknown, ${own.amount} ${own.currency}`,
      theirs: 'cannot be asked',
      proposed: 'Look for it in the vendor’s cabinet, then record the outcome of the refund.',
    }))
}

/** As {@link comparePayments}, for disputes: they are made there, so one can only be missing here. Pure. */
export function compareDisputes(
  ours: readonly { id: string; external_id: string; status: string }[],
  theirs: readonly VendorDispute[],
): Difference[] {
  const by_external = new Map(ours.map((own) => [own.external_id, own]))
  return theirs.flatMap((word): Difference[] => {
    const own = by_external.get(word.external_id)
    const told = `${word.status}, ${word.amount} ${word.currency}`
    const place = { id: own?.id ?? null, external_id: word.external_id, theirs: told }
    if (!own) {
      const proposed =
        'Repeat the vendor’s notification of the dispute: its units are still with the customer.'
      return [{ kind: 'dispute_missing_here', ...place, ours: 'absent', proposed }]
    }
    if (own.status === word.status) return []
    const proposed = 'Repeat the vendor’s notification of the dispute’s end.'
    return [{ kind: 'dispute_status_differs', ...place, ours: own.status, proposed }]
  })
}

/** Money of a lost dispute is no refund there; what a person saw in the cabinet has no name of its own. */
export function isToldByNobody(external_id: string | null): boolean {
  return /^(?:dispute|person):/.test(external_id ?? '')
}

/** A payment known by another id at the vendor is not this one: a link may have been paid twice. */
function isSame(own: OwnPayment | undefined, word: VendorPayment): boolean {
  return own?.external_id == null || own.external_id === word.external_id
}

function missingHere(word: VendorPayment): Difference[] {
  if (word.status !== 'succeeded' && word.status !== 'authorized') return []
  return [
    {
      kind: 'payment_missing_here',
      id: null,
      external_id: word.external_id,
      ours: 'absent',
      theirs: `${word.status}, ${word.amount} ${word.currency}`,
      proposed:
        'Money without an order of ours: refund it at the vendor, or find whose it is by its description.',
    },
  ]
}

function differencesOf(own: OwnPayment, word: VendorPayment): Difference[] {
  const place = { id: own.id, external_id: word.external_id }
  const status = fromVendorStatus(word.status)
  const is_paid = status === 'succeeded'
  if (is_paid !== isSettled(own.status)) {
    // A mismatch is known already and waits for a person.
    if (own.status === 'mismatch') return []
    const proposed = is_paid
      ? 'Read the payment again (GET /v1/payments/{id}); it is granted when nothing else differs.'
      : 'Ask the vendor: units were granted for money it does not know as taken.'
    return [{ kind: 'payment_status_differs', ...place, ours: own.status, theirs: word.status, proposed }]
  }
  if (is_paid && (word.amount !== own.captured_amount || word.currency !== own.currency)) {
    const proposed = 'Compare with the vendor’s page; adjust units and money by hand, with a reason.'
    return [
      {
        kind: 'payment_amount_differs',
        ...place,
        ours: `${own.captured_amount} ${own.currency}`,
        theirs: `${word.amount} ${word.currency}`,
        proposed,
      },
    ]
  }
  if (word.refunded_amount !== undefined && is_paid && word.refunded_amount !== own.refunded_amount) {
    const proposed = 'A refund was made at the vendor or is still on its way; compare the refunds below.'
    return [
      {
        kind: 'refunded_amount_differs',
        ...place,
        ours: String(own.refunded_amount),
        theirs: String(word.refunded_amount),
        proposed,
      },
    ]
  }
  return []
}
