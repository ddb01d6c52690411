import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { storable, timestamp } from '#http/wire'
import { supportedLocale } from '#kernel/locale'
import {
  BY_BODY,
  clientOf,
  endSessionOfToken,
  endSessions,
  getUser,
  PER_MINUTE,
  person,
  refreshSession,
  register,
  signInWithPassword,
  updateProfile,
  type ConfirmationSent,
  type PeopleRouteKit,
  type SignInOutcome,
  type User,
  whoSignsOut,
} from '#modules/identity'

const TAG = 'bot-generic'
const ME = { user: true } as const

const credentials = { email: z.string().min(1).max(254), password: z.string().max(1024) }
const localeCode = z.string().regex(/^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$/)

const profile = z.object({
  id: z.string(),
  email: z.string().nullable(),
  is_email_verified: z.boolean(),
  name: z.string().nullable(),
  locale: z.string().describe('The language the user is spoken to in.'),
  requested_locale: z.string().nullable().describe('The language asked for; one we do not speak falls back.'),
  created_at: timestamp,
})
const tokens = z.object({
  token_type: z.literal('Bearer'),
  access_token: z.string(),
  refresh_token: z.string(),
  expires_in: z.int(),
})
const entered = z.union([
  tokens.extend({ user: profile }),
  z.object({ status: z.literal('second_factor_required'), challenge: z.string(), expires_at: timestamp }),
  z.object({ status: z.literal('confirmation_sent'), email: z.string() }),
])

/** bot-generic's own paths of people: `/auth/…`, without slashes at their ends. */
export function botGenericRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  entryRoutes(app, kit, parts)
  tokenRoutes(app, kit, parts)
  profileRoutes(app, kit, parts)
}

function entryRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/auth/register',
    who: BY_BODY,
    anonymous_per_minute: PER_MINUTE,
    tag: TAG,
    status: 201,
    summary: 'Sign up with e-mail and password',
    body: z.strictObject({
      ...credentials,
      email: z.email().max(254),
      name: storable(200).optional(),
      locale: localeCode.optional(),
    }),
    answer: entered,
    reply: async (call, reply) => {
      const client = clientOf(call)
      const outcome = await register(kit.db, people, { ...call.body, mode: 'bearer', client })
      return sendEntered(reply.status(201), outcome)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/auth/login',
    who: BY_BODY,
    anonymous_per_minute: PER_MINUTE,
    tag: TAG,
    summary: 'Sign in with e-mail and password',
    body: z.strictObject(credentials),
    answer: entered,
    reply: async (call, reply) => {
      const client = clientOf(call)
      return sendEntered(
        reply,
        await signInWithPassword(kit.db, people, { ...call.body, mode: 'bearer', client }),
      )
    },
  })
}

function tokenRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  const { people } = parts
  const body = z.strictObject({ refresh_token: z.string().min(1).max(200) })
  addRoute(app, kit, {
    method: 'POST',
    url: '/auth/refresh',
    who: BY_BODY,
    anonymous_per_minute: PER_MINUTE,
    tag: TAG,
    summary: 'Exchange a refresh token for new tokens',
    body,
    answer: tokens,
    is_keyed: false,
    read: async (call) => {
      const { network } = clientOf(call)
      const { session, refresh_token } = await refreshSession(kit.db, people, { ...call.body, network })
      const signed = await people.tokens.sign({ user_id: session.user_id, session_id: session.id })
      return { token_type: 'Bearer' as const, refresh_token, ...signed }
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/auth/logout',
    who: BY_BODY,
    anonymous_per_minute: PER_MINUTE,
    tag: TAG,
    summary: 'Sign out here, or everywhere',
    body: body.partial().extend({ everywhere: z.boolean().optional() }).prefault({}),
    answer: z.object({ status: z.literal('done') }),
    is_keyed: false,
    read: async (call) => {
      const { refresh_token, everywhere = false } = call.body
      const who = await whoSignsOut(call, parts)
      await kit.db.transact(async (tx) => {
        if (refresh_token !== undefined) await endSessionOfToken(tx, kit.clock, refresh_token)
        if (who === undefined) return
        const which = everywhere ? {} : { id: who.session_id }
        await endSessions(tx, kit.clock, { user_id: who.id, because: 'signed out', ...which })
      })
      return { status: 'done' as const }
    },
  })
}

function profileRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/auth/profile',
    who: ME,
    tag: TAG,
    summary: 'Read one’s profile',
    answer: profile,
    read: async ({ actor }) => profileOf(await getUser(kit.db, person(actor).id)),
  })
  addRoute(app, kit, {
    method: 'PUT',
    url: '/auth/profile',
    who: ME,
    tag: TAG,
    summary: 'Change one’s profile',
    body: z.strictObject({ name: storable(200).nullable().optional(), locale: localeCode.optional() }),
    answer: profile,
    write: async (tx, { actor, body }) =>
      profileOf(await updateProfile(tx, people, { user_id: person(actor).id, ...body })),
  })
  addRoute(app, kit, {
    method: 'PUT',
    url: '/auth/locale',
    who: ME,
    tag: TAG,
    summary: 'Choose one’s language',
    description: 'Any language may be asked for; one that is not spoken here falls back to English.',
    body: z.strictObject({ locale: localeCode }),
    answer: profile,
    write: async (tx, { actor, body }) =>
      profileOf(await updateProfile(tx, people, { user_id: person(actor).id, locale: body.locale })),
  })
}

function profileOf({ id, email, email_verified_at, name, locale, created_at }: User) {
  const spoken = supportedLocale(locale ?? '')
  const is_email_verified = email_verified_at !== null
  return { id, email, is_email_verified, name, locale: spoken, requested_locale: locale, created_at }
}

function sendEntered(reply: FastifyReply, outcome: SignInOutcome | ConfirmationSent): FastifyReply {
  if (outcome.status !== 'signed_in') return reply.send(outcome)
  const { user, access_token, refresh_token, expires_in } = outcome
  return reply.send({ token_type: 'Bearer', access_token, refresh_token, expires_in, user: profileOf(user) })
}
