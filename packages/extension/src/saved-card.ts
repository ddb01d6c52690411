import type { SavedMethod } from './gateway.ts'

/** A saved card in our words. `expires_at` is the first moment after the month printed on the card. */
export function savedCard(card: {
  external_id: string
  kind: string
  brand: string
  last4: string
  expiry_year: number
  expiry_month: number
}): SavedMethod {
  return {
    external_id: card.external_id,
    kind: card.kind,
    title: `${card.brand} •••• ${card.last4}`,
    expires_at: new Date(Date.UTC(card.expiry_year, card.expiry_month, 1)),
  }
}
