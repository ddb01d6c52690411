import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import { productErrors } from '#http/problem'
import { addRoute, type RouteKit } from '#http/routing'
import { storable, timestamp } from '#http/wire'
import type { OrdersKit } from '#modules/orders'
import { webhookRoute, type PaymentsKit, type StoreEvents } from '#modules/payments'
import {
  BY_BODY,
  clientOf,
  getUser,
  PER_MINUTE,
  person,
  register,
  signInWithPassword,
  updateProfile,
  type ConfirmationSent,
  type PeopleRouteKit,
  type SignInOutcome,
  type User,
} from '#modules/identity'
import { rustorePurchaseRoutes } from './rustore-purchases.ts'
import { rustoreShopRoutes } from './rustore-shop.ts'

const TAG = 'rustore-points'
const ME = { user: true } as const

const credentials = {
  email: z.string().min(1).max(254),
  password: z.string().max(1024),
  deviceId: storable(200).optional(),
}
const profile = z.object({
  id: z.string(),
  email: z.string().nullable(),
  emailVerified: z.boolean(),
  name: z.string().nullable(),
  locale: z.string().nullable(),
  createdAt: timestamp,
})
const entered = z.union([
  z.object({
    token: z.string(),
    refreshToken: z.string(),
    tokenType: z.literal('Bearer'),
    expiresIn: z.int(),
    deviceId: z.string().nullable(),
    user: profile,
  }),
  z.object({ status: z.literal('second_factor_required'), challenge: z.string() }),
  z.object({ status: z.literal('confirmation_sent'), email: z.string() }),
])

/** What the app's paths need besides the server. */
export interface RustorePointsKit {
  people: PeopleRouteKit
  orders: OrdersKit
  payments: PaymentsKit
  store: StoreEvents
}

/**
 * The mobile app's own paths. Its spelling is camelCase and its errors are `{error, code}`: a sentence for
 * people and a code for programs.
 */
export function rustorePointsRoutes(app: FastifyInstance, kit: RouteKit, parts: RustorePointsKit): void {
  void app.register((scope, _options, done) => {
    productErrors(scope, ({ title, detail, code, status }) => ({
      status,
      body: { error: detail ?? title, code },
    }))
    entryRoutes(scope, kit, parts.people)
    profileRoutes(scope, kit, parts.people)
    rustoreShopRoutes(scope, kit, parts)
    rustorePurchaseRoutes(scope, kit, parts)
    done()
  })
  // The address given to the store's console.
  webhookRoute(app, kit, parts.payments, parts.store, { url: '/api/webhooks/:gateway', is_hidden: true })
}

function entryRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/auth/register',
    who: BY_BODY,
    anonymous_per_minute: PER_MINUTE,
    tag: TAG,
    status: 201,
    summary: 'Sign up with e-mail, password and the id of the device',
    body: z.strictObject({ ...credentials, email: z.email().max(254), name: storable(200).optional() }),
    answer: entered,
    reply: async (call, reply) => {
      const { deviceId, ...given } = call.body
      const client = clientOf(call, deviceId)
      const outcome = await register(kit.db, people, { ...given, mode: 'bearer', client })
      return sendEntered(reply.status(201), outcome)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/api/auth/login',
    who: BY_BODY,
    anonymous_per_minute: PER_MINUTE,
    tag: TAG,
    summary: 'Sign in',
    body: z.strictObject(credentials),
    answer: entered,
    reply: async (call, reply) => {
      const { deviceId, ...given } = call.body
      const client = clientOf(call, deviceId)
      return sendEntered(
        reply,
        await signInWithPassword(kit.db, people, { ...given, mode: 'bearer', client }),
      )
    },
  })
}

function profileRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/api/user/profile',
    who: ME,
    tag: TAG,
    summary: 'Read one’s profile',
    answer: profile,
    read: async ({ actor }) => profileOf(await getUser(kit.db, person(actor).id)),
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/api/user/update',
    who: ME,
    tag: TAG,
    summary: 'Change one’s profile',
    body: z.strictObject({
      name: storable(200).nullable().optional(),
      locale: z
        .string()
        .regex(/^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$/)
        .nullable()
        .optional(),
    }),
    answer: profile,
    write: async (tx, { actor, body }) =>
      profileOf(await updateProfile(tx, people, { user_id: person(actor).id, ...body })),
  })
}

function profileOf({ id, email, email_verified_at, name, locale, created_at }: User) {
  return { id, email, emailVerified: email_verified_at !== null, name, locale, createdAt: created_at }
}

function sendEntered(reply: FastifyReply, outcome: SignInOutcome | ConfirmationSent): FastifyReply {
  if (outcome.status !== 'signed_in') return reply.send(outcome)
  const { user, session, access_token: token, refresh_token: refreshToken, expires_in: expiresIn } = outcome
  const { device_id: deviceId } = session
  return reply.send({ token, refreshToken, tokenType: 'Bearer', expiresIn, deviceId, user: profileOf(user) })
}
