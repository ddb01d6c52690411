/**
 * What every answer says to browsers. The texts are made once: @fastify/helmet builds its middlewares and a
 * promise per request, which on the hot path costs as much as reading the request does. Values follow
 * OWASP's cheat sheet for REST services; a page overrides the policy with its own (see page.ts).
 * They are few on purpose: every header is checked and copied by Node for every answer.
 */
export function securityHeaders(base_url: string): Readonly<Record<string, string>> {
  return {
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'x-frame-options': 'DENY',
    // Answers are somebody's balance: only routes that say otherwise may be kept by caches.
    'cache-control': 'no-store',
    ...(base_url.startsWith('https://') ? { 'strict-transport-security': 'max-age=31536000' } : {}),
  }
}

/** What pages say besides: their address may hold a token, and nobody else's page needs them. */
export const PAGE_HEADERS = {
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const
