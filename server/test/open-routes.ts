const SIGN_IN = 'a way in: the password, code or token is in the body, and is counted'
const VENDOR = 'a vendor’s notification, proved by its signature or by reading the object'
const PROBE = 'for whoever watches the process; tells nothing but that it lives'
const PAGE = 'a page that does nothing when it is looked at'
const SHOP = 'what is on sale is shown to everybody'

/** Every route that lets in whoever comes, or asks for a proof of its own instead of a name; and why. */
export const OPEN: Readonly<Record<string, string>> = {
  'GET /healthz': PROBE,
  'GET /readyz': PROBE,
  'GET /metrics': 'for machines of the same network, or by its token; nothing to anybody else',
  'GET /openapi.json': 'the description of the interface is public',
  'GET /docs': 'the same as a page',
  'GET /docs/start.js': 'the script of that page',
  'GET /docs/reference.js': 'the script of that page',
  'GET /.well-known/jwks.json': 'public keys',

  'POST /v1/setup': 'the first key, for the token of the set-up link: once, for a day, counted',
  'GET /setup': PAGE,
  'POST /setup': 'as POST /v1/setup, from its page',
  'GET /auth/mail': PAGE,
  'POST /auth/mail': 'what the link of a mail is for, by its token',
  'GET /auth/callback/:provider':
    'where a vendor sends a browser back, which shows the cookie of its beginning',

  'GET /v1/auth/providers': 'which ways in there are',
  'POST /v1/auth/register': SIGN_IN,
  'POST /v1/auth/login': SIGN_IN,
  'POST /v1/auth/second_factor': SIGN_IN,
  'POST /v1/auth/refresh': SIGN_IN,
  'POST /v1/auth/logout': 'ends the session that is shown, and no other',
  'POST /v1/auth/password/forgot': 'sends a mail to the address itself; answers known and unknown ones alike',
  'POST /v1/auth/password/reset': SIGN_IN,
  'POST /v1/auth/email/confirm': SIGN_IN,
  'POST /v1/auth/telegram': SIGN_IN,
  'POST /v1/auth/telegram/start_codes': 'a code that opens nothing until a person agrees in the bot',
  'POST /v1/auth/telegram/claim': SIGN_IN,
  'POST /v1/auth/oauth/:provider': 'the beginning of a sign-in at a vendor',
  'POST /v1/auth/oauth/:provider/finish': SIGN_IN,
  'POST /auth/register/': SIGN_IN,
  'POST /auth/login/': SIGN_IN,
  'POST /auth/register': SIGN_IN,
  'POST /auth/login': SIGN_IN,
  'POST /auth/refresh': SIGN_IN,
  'POST /auth/logout': 'ends the session that is shown, and no other',
  'POST /api/auth/register': SIGN_IN,
  'POST /api/auth/login': SIGN_IN,

  'GET /v1/catalog': SHOP,
  'GET /api/packages/': SHOP,
  'GET /packages/': SHOP,
  'GET /api/v1/tariffs': SHOP,
  'GET /api/products': SHOP,

  'POST /webhooks/payments/:gateway': VENDOR,
  'POST /payments/webhook/:gateway/': VENDOR,
  'POST /api/v1/payments/robokassa/callback': VENDOR,
  'POST /api/webhooks/:gateway': VENDOR,
  'GET /sandbox/pay/:payment_id': 'the sandbox’s page of a payment, by a signed link',
  'POST /sandbox/pay/:payment_id': 'its buttons, by the same link',
}
