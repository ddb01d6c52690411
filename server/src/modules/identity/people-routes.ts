import type { FastifyInstance, FastifyReply } from 'fastify'
import { addressKey } from '#http/client-address'
import { CsrfRefused, isForeign } from '#http/callers'
import { addRoute, type Call, type RouteKit } from '#http/routing'
import { clearSessionCookie, readCookies, setSessionCookies } from '#http/session-cookies'
import { InvalidRequest, Unauthenticated } from '#kernel/errors'
import { confirmEmailChange } from './email-changes.ts'
import { askForReset, resetPassword } from './password-changes.ts'
import type { Client, PeopleKit } from './people-kit.ts'
import type { PeopleAuthenticator, PersonIdentity } from './people-authenticator.ts'
import * as schemas from './people-schemas.ts'
import { confirmEmail, confirmRegistration, register, type ConfirmationSent } from './registration.ts'
import { endSession, endSessionOfToken, refreshSession } from './sessions.ts'
import { deviceTokenFor, type SignedIn, type SignInOutcome, signInWithPassword } from './sign-in.ts'
import { signInWithSecondFactor } from './second-factor.ts'

/** What routes about people need beside the kit of all routes. */
export interface PeopleRouteKit {
  people: PeopleKit
  authenticator: PeopleAuthenticator
}

const TAG = 'Sign-in'
/**
 * Proved by what is in the body. An Authorization header is not looked at: an app that sends its expired
 * access token along when it refreshes must not be refused for that.
 */
export const BY_BODY = { anonymous: true, proof: 'what the body holds' } as const
/** Requests of one address; the limits on passwords and mails are apart, see attempts.ts. */
export const PER_MINUTE = 60

/** `/v1/auth/…` of e-mail and password, and tokens. */
export function signInRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  passwordRoutes(app, kit, parts)
  tokenRoutes(app, kit, parts)
  publicRoutes(app, kit, parts)
  mailRoutes(app, kit, parts)
}

function passwordRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  const { people } = parts
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/register',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Sign up with e-mail and password',
    description: 'With confirmed registration the answer is the same whether the address is known or not.',
    body: schemas.registerBody,
    answer: schemas.registerAnswer,
    errors: { 400: ['weak_password'], 409: ['already_exists'] },
    reply: async (call, reply) => {
      const { body } = call
      checkBrowser(call, body.mode, people)
      const outcome = await register(kit.db, people, { ...body, client: clientOf(call, body.device_id) })
      return sendOutcome(reply, parts, outcome)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/login',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Sign in with e-mail and password',
    description: 'Wrong attempts are counted per account and network; a known device has a count of its own.',
    body: schemas.signInBody,
    answer: schemas.signInAnswer,
    errors: { 401: ['invalid_credentials'] },
    reply: async (call, reply) => {
      const { body } = call
      checkBrowser(call, body.mode, people)
      const device_token = body.device_token ?? readCookies(call.headers.cookie).device
      const outcome = await signInWithPassword(kit.db, people, {
        ...body,
        device_token,
        client: clientOf(call, body.device_id),
      })
      return sendOutcome(reply, parts, outcome)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/second_factor',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Finish a sign-in with a code of the second factor',
    body: schemas.secondFactorBody,
    answer: schemas.signInAnswer,
    errors: { 401: ['proof_invalid'] },
    reply: async (call, reply) => {
      const { network } = clientOf(call)
      return sendOutcome(
        reply,
        parts,
        await signInWithSecondFactor(kit.db, people, { ...call.body, network }),
      )
    },
  })
}

function tokenRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  const { people } = parts
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/refresh',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Exchange a refresh token for new tokens',
    description:
      'A retry within ten seconds gets the same answer; a token that comes again later ends its session.',
    body: schemas.refreshBody,
    answer: schemas.refreshAnswer,
    errors: { 401: ['refresh_token_invalid'] },
    is_keyed: false,
    read: async (call) => {
      const { network } = clientOf(call)
      const { session, refresh_token } = await refreshSession(kit.db, people, { ...call.body, network })
      const signed = await people.tokens.sign({ user_id: session.user_id, session_id: session.id })
      return { token_type: 'Bearer' as const, ...signed, refresh_token, session_id: session.id }
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/logout',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Sign out',
    description: 'Ends the session of the refresh token, the access token or the cookie. Always works.',
    body: schemas.signOutBody,
    answer: schemas.done,
    reply: async (call, reply) => {
      const { refresh_token } = call.body
      const person = await whoSignsOut(call, parts)
      await kit.db.transact(async (tx) => {
        if (refresh_token !== undefined) await endSessionOfToken(tx, kit.clock, refresh_token)
        if (person) {
          await endSession(tx, kit.clock, {
            id: person.session_id,
            user_id: person.id,
            because: 'signed out',
          })
        }
      })
      clearSessionCookie(reply)
      return reply.send({ status: 'done' })
    },
  })
}

function publicRoutes(app: FastifyInstance, kit: RouteKit, { people, authenticator }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/auth/csrf',
    who: { user: true },
    tag: TAG,
    summary: 'Get the CSRF token of a browser’s session',
    answer: schemas.csrf,
    read: ({ headers }) => {
      const { session } = readCookies(headers.cookie)
      const is_cookie = headers.authorization === undefined && session !== undefined
      return { csrf_token: is_cookie ? authenticator.csrfTokenOf(session) : null }
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/.well-known/jwks.json',
    who: { anonymous: true },
    tag: TAG,
    summary: 'The keys that access tokens can be checked with',
    answer: schemas.jwks,
    read: async () => schemas.jwks.parse(await people.tokens.publicKeys()),
  })
}

function mailRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/password/forgot',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Ask for a mail with a link that sets a new password',
    body: schemas.forgotBody,
    status: 202,
    answer: schemas.accepted,
    is_keyed: false,
    read: async (call) => {
      await askForReset(kit.db, people, { email: call.body.email, network: clientOf(call).network })
      return { status: 'accepted' as const }
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/password/reset',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Set a new password with the token of a mail',
    description: 'Ends every session of the user.',
    body: schemas.resetBody,
    answer: schemas.resetAnswer,
    is_keyed: false,
    errors: { 400: ['weak_password'], 401: ['proof_invalid'] },
    read: async ({ body }) => {
      const { id } = await resetPassword(kit.db, people, body)
      return { status: 'done' as const, device_token: deviceTokenFor(people, id) }
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/email/confirm',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Prove an e-mail address with the token of a mail',
    description: 'Of a registration, of a new address, or of the address one signed up with.',
    body: schemas.mailTokenBody,
    answer: schemas.user,
    is_keyed: false,
    errors: { 401: ['proof_invalid'], 409: ['already_exists'] },
    read: ({ body }) => confirmByMail(kit, people, body.token),
  })
}

/**
 * Whoever signs out; nobody when what he shows has ended anyway. Throws CsrfRefused for another site's page.
 */
export async function whoSignsOut(
  call: Pick<Call, 'headers'>,
  { authenticator, people }: PeopleRouteKit,
): Promise<PersonIdentity | undefined> {
  const { authorization, cookie } = call.headers
  const { session } = readCookies(cookie)
  try {
    if (authorization?.startsWith('Bearer eyJ'))
      return await authenticator.byAccessToken(authorization.slice(7))
    if (session === undefined) return undefined
    checkBrowser(call, 'cookie', people)
    return await authenticator.byCookie(session)
  } catch (error) {
    if (error instanceof Unauthenticated) return undefined
    throw error
  }
}

/**
 * Does what the token of a mail is for. Throws ProofInvalid, AlreadyExists; InvalidRequest for one that is
 * for none.
 */
export function confirmByMail(kit: RouteKit, people: PeopleKit, token: string) {
  if (token.startsWith('reg_')) return confirmRegistration(kit.db, people, token)
  if (token.startsWith('emc_')) return confirmEmailChange(kit.db, people, token)
  if (token.startsWith('eml_')) return confirmEmail(kit.db, people, token)
  throw new InvalidRequest([{ pointer: '/token', detail: 'is no token of a mail' }])
}

/** Where a request comes from. */
export function clientOf(call: Pick<Call, 'ip' | 'headers'>, device_id?: string): Client {
  const { 'user-agent': device_name } = call.headers
  return { network: addressKey(call.ip), device_id, device_name: device_name?.slice(0, 200) }
}

/** Another site's page must not sign a browser in: not as somebody else either. Throws CsrfRefused. */
export function checkBrowser(
  call: Pick<Call, 'headers'>,
  mode: 'bearer' | 'cookie',
  people: PeopleKit,
): void {
  if (mode === 'cookie' && isForeign(call, people.base_url())) {
    throw new CsrfRefused('A browser is signed in from our own pages only.')
  }
}

/** Answers a sign-in: tokens in the body, or a cookie that scripts cannot read. */
export function sendOutcome(
  reply: FastifyReply,
  { authenticator }: PeopleRouteKit,
  outcome: SignInOutcome | ConfirmationSent | { status: 'waiting' },
): FastifyReply {
  if (outcome.status !== 'signed_in') return reply.send(outcome)
  return reply.send(signedInBody(reply, authenticator, outcome))
}

/** The body of a sign-in; sets the cookies of one by cookie. */
export function signedInBody(reply: FastifyReply, authenticator: PeopleAuthenticator, outcome: SignedIn) {
  const { user, session, access_token, refresh_token, expires_in, device_token, cookie } = outcome
  if (cookie !== null) {
    setSessionCookies(reply, { session: cookie, device: device_token, max_age_seconds: expires_in })
  }
  const csrf_token = cookie === null ? null : authenticator.csrfTokenOf(cookie)
  const tokens = {
    token_type: 'Bearer' as const,
    access_token,
    expires_in,
    refresh_token,
    csrf_token,
    device_token,
  }
  return { status: 'signed_in' as const, user, session_id: session.id, ...tokens }
}
