/**
 * What every answer says to browsers. The texts are made once: @fastify/helmet builds its middlewares and a promise
 * per request, which on the hot path costs as much as reading the request does. Values follow OWASP's
 * cheat sheet for REST services; a page overrides the policy with its own (see page.ts).
 */
export function securityHeaders(base_url: string): Readonly<Record<string, string>> {
  return {
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    // Answers are somebody's balance: only routes that say otherwise may be kept by caches.
    'cache-control': 'no-store',
    ...(base_url.startsWith('https://') ? { 'strict-transport-security': 'max-age=31536000' } : {}),
  }
}
