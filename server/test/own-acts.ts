/** Bodies with which a person changes what is his own, where an empty one or that of the matrix is none. */
export const OWN_BODIES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'PATCH /v1/me': { name: 'Own' },
  'PUT /v1/me/password': { password: 'a password of my own' },
  'PUT /v1/me/email': { email: 'own@mail.example', password: 'a password of my own' },
  'POST /v1/organizations': { name: 'Own' },
  'PUT /profile/': { name: 'Own' },
  'PUT /auth/profile': { name: 'Own' },
  'PUT /auth/locale': { locale: 'en' },
  'PATCH /api/user/update': { name: 'Own' },
  'POST /api/orders/': { package_id: 'minutes_30', email: 'own@mail.example' },
  'POST /packages/:id/buy/': { email: 'own@mail.example' },
}

/** Ways that need something from outside the matrix; each has tests of its own where it is made. */
export const NEEDS_MORE: Readonly<Record<string, string>> = {
  'POST /v1/me/merge': 'a token that says that both users are one person: merging.test.ts',
  'POST /v1/me/identities/telegram': 'a bot: telegram.test.ts',
  'POST /v1/me/identities/telegram/start_codes': 'a bot: telegram.test.ts',
  'POST /v1/me/identities/oauth/:provider': 'a vendor: oauth.test.ts',
  'POST /v1/me/identities/oauth/:provider/finish': 'a vendor: oauth.test.ts',
  'POST /v1/me/second_factor/confirm': 'a code of the app: second-factor.test.ts',
  'POST /v1/me/second_factor/remove': 'a code of the app: second-factor.test.ts',
  'POST /v1/invitations/accept': 'an invitation of somebody: organizations.test.ts',
  'POST /api/v1/payments/create': 'Robokassa: mutual-check.test.ts',
  'POST /api/v1/payments/telegram-stars': 'Telegram Stars: mutual-check.test.ts',
  'POST /api/points/buy': 'the unit of the app: rustore-points.test.ts',
  'POST /api/points/spend': 'the unit of the app: rustore-points.test.ts',
  'POST /api/payments/verify': 'RuStore: rustore-points.test.ts',
  'POST /api/subscriptions/verify': 'RuStore: rustore-subscription.test.ts',
  'POST /api/subscriptions/create': 'RuStore: rustore-subscription.test.ts',
  'POST /api/subscriptions/cancel': 'RuStore: rustore-subscription.test.ts',
  'POST /api/subscriptions/renew': 'RuStore: rustore-subscription.test.ts',
}
