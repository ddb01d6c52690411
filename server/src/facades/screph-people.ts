import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import { addRoute, type Call, type RouteKit } from '#http/routing'
import { storable, timestamp } from '#http/wire'
import { InvalidRequest } from '#kernel/errors'
import { resolveCustomer, updateCustomer } from '#modules/customers'
import {
  clientOf,
  PER_MINUTE,
  person,
  register,
  signInWithPassword,
  updateProfile,
  type ConfirmationSent,
  type PeopleRouteKit,
  type SignInOutcome,
} from '#modules/identity'
import { ensureUser, getUser, personWire } from './screph-words.ts'

const TAG = 'screph'

const personFacts = {
  id: z.string(),
  external_id: z.string().nullable(),
  telegram_id: z.int().nullable(),
  email: z.string().nullable(),
  name: z.string().nullable(),
  locale: z.string().nullable(),
  created_at: timestamp,
}
const tokens = {
  token_type: z.literal('Bearer'),
  access_token: z.string(),
  refresh_token: z.string(),
  expires_in: z.int(),
}
const wirePerson = z.object(personFacts)
const entered = z.union([
  z.object({ ...personFacts, ...tokens }),
  wirePerson,
  z.object({ status: z.literal('second_factor_required'), challenge: z.string(), expires_at: timestamp }),
  z.object({ status: z.literal('confirmation_sent'), email: z.string() }),
])

const facts = {
  name: storable(200).nullable().optional(),
  locale: z.string().max(10).nullable().optional(),
}
const secrets = { password: z.string().max(1024).optional(), device_id: storable(200).optional() }

/**
 * Screph's `/auth/…` and `/profile/`. Its server calls with a secret key for the user of `X-User-Id`; its
 * users call without one, with an address and a password, and get tokens.
 */
export function screphPeopleRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  const { people } = parts
  addRoute(app, kit, {
    method: 'POST',
    url: '/auth/register/',
    who: { anonymous: true, key: 'customers:write' },
    anonymous_per_minute: PER_MINUTE,
    tag: TAG,
    status: 201,
    summary: 'Sign up; with a secret key, make the user named by X-User-Id known',
    body: z
      .strictObject({ email: z.email().max(254).nullable().optional(), ...facts, ...secrets })
      .prefault({}),
    answer: entered,
    reply: async (call, reply) => {
      const { password, device_id, ...given } = call.body
      if (isServer(call, 'customers:write')) {
        const customer = await kit.db.transact(async (tx) => {
          const { id } = await ensureUser(tx, kit, call)
          return updateCustomer(tx, kit.clock, { id_text: id, facts: given })
        })
        return reply.status(201).send(personWire(customer))
      }
      const client = clientOf(call, device_id)
      const credentials = { email: needed(given.email, 'email'), password: needed(password, 'password') }
      const outcome = await register(kit.db, people, { ...given, ...credentials, mode: 'bearer', client })
      return sendEntered(reply.status(201), kit, outcome)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/auth/login/',
    who: { anonymous: true, key: 'customers:read' },
    anonymous_per_minute: PER_MINUTE,
    tag: TAG,
    summary: 'Sign in; with a secret key, look the user named by X-User-Id up',
    body: z.strictObject({ email: z.string().max(254).optional(), ...secrets }).prefault({}),
    answer: entered,
    reply: async (call, reply) => {
      if (isServer(call, 'customers:read')) return reply.send(personWire(await getUser(kit.db, call)))
      const outcome = await signInWithPassword(kit.db, people, {
        email: needed(call.body.email, 'email'),
        password: needed(call.body.password, 'password'),
        mode: 'bearer',
        client: clientOf(call, call.body.device_id),
      })
      return sendEntered(reply, kit, outcome)
    },
  })
  profileRoutes(app, kit, parts)
}

function profileRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/profile/',
    who: { key: 'customers:read', user: true },
    tag: TAG,
    summary: 'Read the user',
    answer: wirePerson,
    read: async (call) => personWire(await getUser(kit.db, call)),
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/profile/',
    who: { key: 'customers:write', user: true },
    tag: TAG,
    summary: 'Change the user',
    description: 'A user changes his own address by PUT /v1/me/email, because the new one has to be proved.',
    body: z.strictObject({ email: z.email().max(254).nullable().optional(), ...facts }),
    answer: wirePerson,
    write: async (tx, call) => {
      const { email, ...change } = call.body
      if (call.actor.kind === 'user') {
        if (email !== undefined) {
          throw new InvalidRequest([{ pointer: '/email', detail: 'is changed by PUT /v1/me/email' }])
        }
        await updateProfile(tx, people, { user_id: person(call.actor).id, ...change })
        return personWire(await getUser(tx, call))
      }
      const customer = await getUser(tx, call)
      return personWire(await updateCustomer(tx, kit.clock, { id_text: customer.id, facts: call.body }))
    },
  })
}

/**
 * Whether a secret key that may do this calls. One that may not is nobody special: its caller is a person.
 */
function isServer({ actor }: Pick<Call, 'actor'>, scope: 'customers:read' | 'customers:write'): boolean {
  return actor.kind === 'key' && (actor.scopes.has(scope) || actor.scopes.has('*'))
}

function needed(value: string | null | undefined, name: string): string {
  if (value !== null && value !== undefined) return value
  throw new InvalidRequest([{ pointer: `/${name}`, detail: 'is missing' }])
}

async function sendEntered(
  reply: FastifyReply,
  kit: RouteKit,
  outcome: SignInOutcome | ConfirmationSent,
): Promise<FastifyReply> {
  if (outcome.status !== 'signed_in') return reply.send(outcome)
  const { user, access_token, refresh_token, expires_in } = outcome
  const customer = await resolveCustomer(kit.db, user.customer_id ?? '')
  return reply.send({
    ...personWire(customer),
    token_type: 'Bearer',
    access_token,
    refresh_token,
    expires_in,
  })
}
