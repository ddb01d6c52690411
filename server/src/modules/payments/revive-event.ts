import type { VendorEvent } from '@kopilka/extension'

const AMOUNTS: ReadonlySet<string> = new Set(['amount', 'refunded_amount', 'fee'])
const OBJECTS: ReadonlySet<string> = new Set(['payment', 'refund', 'dispute', 'saved_method', 'subscription'])
const MOMENTS: ReadonlySet<string> = new Set([
  'paid_at',
  'created_at',
  'occurred_at',
  'expires_at',
  'started_at',
])

/**
 * Reads an event back as it was before it was stored: amounts from digits, moments from ISO texts.
 * Only the objects whose shape is ours are touched; a vendor's own data stays as it is. Pure.
 */
export function reviveEvent(stored: unknown): VendorEvent {
  return reviveMembers(stored as Record<string, unknown>) as unknown as VendorEvent
}

function reviveMembers(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => {
      if (AMOUNTS.has(name) && typeof value === 'string') return [name, BigInt(value)]
      if (MOMENTS.has(name) && typeof value === 'string') return [name, new Date(value)]
      if (OBJECTS.has(name) && typeof value === 'object' && value !== null) {
        return [name, reviveMembers(value as Record<string, unknown>)]
      }
      if (name === 'charges' && Array.isArray(value)) {
        return [name, value.map((charge: unknown) => reviveMembers(charge as Record<string, unknown>))]
      }
      return [name, value]
    }),
  )
}
