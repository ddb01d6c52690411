/** What a test card does: on a page, and when its saved method is charged later. */
export interface CardBehaviour {
  brand: string
  /** Absent: pays. */
  decline?: { code: string; decline_code?: string }
  /** Declined only when charged off-session. */
  declines_later?: { code: string; decline_code?: string }
  has_3ds?: boolean
}

export const DEFAULT_CARD = '4242424242424242'

const DECLINED = { code: 'card_declined', decline_code: 'generic_decline' }

/** The vendor's test cards that change what happens. */
export const CARDS: Readonly<Record<string, CardBehaviour>> = {
  '4242424242424242': { brand: 'visa' },
  '5555555555554444': { brand: 'mastercard' },
  '4000002500003155': { brand: 'visa', has_3ds: true, declines_later: { code: 'authentication_required' } },
  '4000000000000002': { brand: 'visa', decline: DECLINED },
  '4000000000009995': {
    brand: 'visa',
    decline: { code: 'card_declined', decline_code: 'insufficient_funds' },
  },
  '4000000000000341': { brand: 'visa', declines_later: DECLINED },
}

/** Any other number of 14 to 19 digits is a Visa that pays. */
export function cardBehaviour(number: string): CardBehaviour {
  return CARDS[number] ?? { brand: 'visa' }
}
