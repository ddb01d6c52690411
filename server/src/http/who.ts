/**
 * What secret API keys may be allowed, one word per noun and verb. `admin` guards what changes the
 * installation.
 */
export const SCOPES = [
  'customers:read',
  'customers:write',
  'wallets:read',
  'grants:write',
  'spends:write',
  'holds:write',
  'adjustments:write',
  'transfers:write',
  'catalog:read',
  'catalog:write',
  'orders:read',
  'orders:write',
  'payments:read',
  'payments:write',
  'refunds:write',
  'usage:read',
  'usage:write',
  'webhooks:read',
  'webhooks:write',
  'admin',
] as const

export type Scope = (typeof SCOPES)[number]

/**
 * Who may call a route. Several members mean: any of them. Every route declares it; a route without it does
 * not start. A key needs the scope; a user may call it for what is his own; staff need the permission.
 */
export interface Who {
  anonymous?: true
  /** `any`: every valid key, whatever its scopes. */
  key?: Scope | 'any'
  user?: true
  staff?: string
  /**
   * Proved otherwise: a vendor's signature, a signed link. Says by what. The Authorization header is then the
   * vendor's business and not looked at, and there is no common limit per address.
   */
  proof?: string
}
