import type { FastifyInstance } from 'fastify'
import type { Actor, UserActor } from '#http/actor'
import { addRoute, type RouteKit } from '#http/routing'
import { assert, MissingScope } from '#kernel/errors'
import { askForEmail } from './email-changes.ts'
import { linkTelegram, createStartCode } from './telegram.ts'
import { listIdentities, unlinkIdentity } from './identities.ts'
import { mergeUsers } from './merging.ts'
import { beginOauth, finishOauthLink } from './oauth.ts'
import { changePassword } from './password-changes.ts'
import { listDevices } from './people-queries.ts'
import { clientOf, type PeopleRouteKit } from './people-routes.ts'
import * as schemas from './people-schemas.ts'
import { sendConfirmationAgain } from './registration.ts'
import {
  beginSecondFactor,
  confirmSecondFactor,
  getSecondFactor,
  removeSecondFactor,
} from './second-factor.ts'
import { endSession, endSessions, listSessions } from './sessions.ts'
import { getUser, updateProfile } from './users.ts'
import { telegramProofOf } from './vendor-sign-in-routes.ts'

const TAG = 'Me'
const ME = { user: true } as const

/** `/v1/me/…`: what a person sees and changes of himself. */
export function meRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  profileRoutes(app, kit, parts)
  sessionRoutes(app, kit)
  identityRoutesOfMe(app, kit, parts)
  telegramLinkRoutes(app, kit, parts)
  oauthLinkRoutes(app, kit, parts)
  secretRoutes(app, kit, parts)
  factorRoutes(app, kit, parts)
}

/** The signed-in person. */
export function person(actor: Actor): UserActor {
  assert(actor.kind === 'user', 'only users may call this route')
  return actor
}

/**
 * The person himself: staff who look through his eyes may not change how he signs in. Throws MissingScope.
 */
function himself(actor: Actor): UserActor {
  const user = person(actor)
  if (user.impersonator_id !== undefined) {
    throw new MissingScope('Whoever looks through another’s eyes cannot change how that person signs in.')
  }
  return user
}

function profileRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/me',
    who: ME,
    tag: TAG,
    summary: 'Who is signed in',
    answer: schemas.me,
    read: async ({ actor }) => {
      const {
        id,
        session_id,
        permissions,
        impersonator_id = null,
        needs_second_factor = false,
      } = person(actor)
      const [user, second_factor] = await Promise.all([getUser(kit.db, id), getSecondFactor(kit.db, id)])
      return {
        ...user,
        session_id,
        permissions: [...permissions],
        needs_second_factor,
        impersonator_id,
        second_factor,
      }
    },
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/me',
    who: ME,
    tag: TAG,
    summary: 'Change one’s name and language',
    body: schemas.profileBody,
    answer: schemas.user,
    write: (tx, { actor, body }) => updateProfile(tx, people, { user_id: person(actor).id, ...body }),
  })
}

function sessionRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock } = kit
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/me/sessions',
    who: ME,
    tag: TAG,
    summary: 'Where one is signed in',
    description: 'At most 200, the one used last first.',
    answer: schemas.sessionPage,
    read: async ({ actor }) => {
      const { id, session_id } = person(actor)
      const items = await listSessions(db, clock, id)
      const wire = items.map((session) => ({
        ...session,
        is_current: session.id === session_id,
        is_impersonation: session.impersonator_id !== null,
      }))
      return { items: wire, next_cursor: null }
    },
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/me/sessions/:id',
    who: ME,
    tag: TAG,
    summary: 'Sign one device out',
    params: schemas.idPath,
    answer: schemas.done,
    write: async (tx, { actor, params }) => {
      await endSession(tx, clock, { id: params.id, user_id: himself(actor).id, because: 'ended by the user' })
      return { status: 'done' as const }
    },
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/me/sessions',
    who: ME,
    tag: TAG,
    summary: 'Sign out everywhere, here too',
    answer: schemas.ended,
    write: async (tx, { actor }) => ({
      ended: await endSessions(tx, clock, { user_id: himself(actor).id, because: 'signed out everywhere' }),
    }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/me/devices',
    who: ME,
    tag: TAG,
    summary: 'Devices one signed in with',
    description: 'At most 100, the one seen last first.',
    answer: schemas.devicePage,
    read: async ({ actor }) => ({ items: await listDevices(db, person(actor).id), next_cursor: null }),
  })
}

function identityRoutesOfMe(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  const { db } = kit
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/me/identities',
    who: ME,
    tag: TAG,
    summary: 'Who one is at other vendors',
    answer: schemas.identityPage,
    read: async ({ actor }) => ({ items: await listIdentities(db, person(actor).id), next_cursor: null }),
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/me/identities/:id',
    who: ME,
    tag: TAG,
    summary: 'Unlink an identity',
    description: 'The last way to sign in stays.',
    params: schemas.idPath,
    answer: schemas.done,
    errors: { 409: ['last_way_to_sign_in'] },
    write: async (tx, { actor, params }) => {
      await unlinkIdentity(tx, people, { user_id: himself(actor).id, identity_id: params.id })
      return { status: 'done' as const }
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/merge',
    who: ME,
    tag: TAG,
    summary: 'Make one user of two that one proved to be',
    description:
      'With the merge_token of an identity_taken answer. The other user’s sessions end, his grants come.',
    body: schemas.mergeBody,
    answer: schemas.user,
    errors: { 401: ['proof_invalid'], 409: ['invalid_state'] },
    is_keyed: false,
    read: ({ actor, body }) => mergeUsers(db, people, { user_id: himself(actor).id, ...body }),
  })
}

function telegramLinkRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  const { db } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/identities/telegram',
    who: ME,
    tag: TAG,
    summary: 'Link Telegram',
    body: schemas.telegramLinkBody,
    answer: schemas.identity,
    is_keyed: false,
    errors: { 401: ['vendor_proof_invalid'], 409: ['identity_taken'] },
    read: (call) => {
      const client = clientOf(call, call.body.device_id)
      return linkTelegram(db, people, {
        user_id: himself(call.actor).id,
        proof: telegramProofOf(call.body),
        client,
      })
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/identities/telegram/start_codes',
    who: ME,
    tag: TAG,
    status: 201,
    summary: 'Get a code that links Telegram when the bot is started with it',
    answer: schemas.startCode,
    is_keyed: false,
    read: (call) =>
      createStartCode(db, people, {
        purpose: 'link',
        user_id: himself(call.actor).id,
        client: clientOf(call),
      }),
  })
}

function oauthLinkRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  const { db } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/identities/oauth/:provider',
    who: ME,
    tag: TAG,
    summary: 'Begin linking Google or VK',
    params: schemas.providerPath,
    answer: schemas.oauthStart,
    is_keyed: false,
    read: (call) => {
      const { id: user_id } = himself(call.actor)
      const { provider } = call.params
      return beginOauth(db, people, { provider, mode: 'bearer', client: clientOf(call), user_id })
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/identities/oauth/:provider/finish',
    who: ME,
    tag: TAG,
    summary: 'Finish linking it',
    params: schemas.providerPath,
    body: schemas.oauthFinishBody,
    answer: schemas.identity,
    is_keyed: false,
    errors: { 401: ['proof_invalid', 'vendor_proof_invalid'], 409: ['identity_taken'] },
    read: (call) => {
      const { actor, params, body } = call
      const { network } = clientOf(call)
      return finishOauthLink(db, people, { ...params, ...body, network, user_id: himself(actor).id })
    },
  })
}

function secretRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'PUT',
    url: '/v1/me/password',
    who: ME,
    tag: TAG,
    summary: 'Change or set one’s password',
    description: 'Every other session ends.',
    body: schemas.passwordBody,
    answer: schemas.user,
    is_keyed: false,
    errors: { 400: ['weak_password'], 401: ['invalid_credentials'] },
    read: ({ actor, body }) => {
      const { id: user_id, session_id } = himself(actor)
      return changePassword(kit.db, people, { user_id, session_id, ...body })
    },
  })
  addRoute(app, kit, {
    method: 'PUT',
    url: '/v1/me/email',
    who: ME,
    tag: TAG,
    status: 202,
    summary: 'Ask for another e-mail address',
    description: 'A link goes to the new address; until it is followed nothing changes.',
    body: schemas.emailBody,
    answer: schemas.accepted,
    is_keyed: false,
    errors: { 401: ['invalid_credentials'] },
    read: async ({ actor, body }) => {
      await askForEmail(kit.db, people, { user_id: himself(actor).id, ...body })
      return { status: 'accepted' as const }
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/email/confirmation',
    who: ME,
    tag: TAG,
    status: 202,
    summary: 'Send the link that proves one’s address again',
    answer: schemas.accepted,
    is_keyed: false,
    read: async ({ actor }) => {
      await sendConfirmationAgain(kit.db, people, person(actor).id)
      return { status: 'accepted' as const }
    },
  })
}

function factorRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/second_factor',
    who: ME,
    tag: TAG,
    summary: 'Get a secret for an authenticator app',
    description: 'Nothing changes until a code of it is confirmed.',
    answer: schemas.newFactor,
    is_keyed: false,
    errors: { 409: ['invalid_state'] },
    read: async ({ actor }) => {
      const { id: user_id } = himself(actor)
      const { email, name } = await getUser(kit.db, user_id)
      const issuer = URL.parse(people.base_url())?.host ?? 'Kopilka'
      return kit.db.transact((tx) =>
        beginSecondFactor(tx, people, { user_id, account: email ?? name ?? user_id, issuer }),
      )
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/second_factor/confirm',
    who: ME,
    tag: TAG,
    summary: 'Turn the second factor on with a code of the app',
    body: schemas.factorCodeBody,
    answer: schemas.recoveryCodes,
    is_keyed: false,
    errors: { 401: ['proof_invalid'], 409: ['invalid_state'] },
    read: (call) => {
      const { id: user_id, session_id } = himself(call.actor)
      const { network } = clientOf(call)
      return confirmSecondFactor(kit.db, people, { user_id, session_id, network, ...call.body })
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/me/second_factor/remove',
    who: ME,
    tag: TAG,
    summary: 'Turn the second factor off with a code of it',
    body: schemas.factorCodeBody,
    answer: schemas.done,
    is_keyed: false,
    errors: { 401: ['proof_invalid'], 409: ['invalid_state'] },
    read: async (call) => {
      const { id: user_id } = himself(call.actor)
      await removeSecondFactor(kit.db, people, { user_id, network: clientOf(call).network, ...call.body })
      return { status: 'done' as const }
    },
  })
}
