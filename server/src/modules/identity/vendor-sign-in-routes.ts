import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { html, sendPage } from '#http/page'
import { addRoute, type RouteKit } from '#http/routing'
import { readCookies, setFlowCookie } from '#http/session-cookies'
import { beginOauth, finishOauth, listProviders } from './oauth.ts'
import * as schemas from './people-schemas.ts'
import {
  BY_BODY,
  checkBrowser,
  clientOf,
  PER_MINUTE,
  type PeopleRouteKit,
  sendOutcome,
  signedInBody,
} from './people-routes.ts'
import { botIdOf } from './telegram-proof.ts'
import {
  claimStartCode,
  createStartCode,
  describeStartCode,
  redeemStartCode,
  signInWithTelegram,
  type TelegramProof,
} from './telegram.ts'

const TAG = 'Sign-in'
const BOT = { key: 'customers:write' } as const

/** `/v1/auth/…` of Telegram and of vendors by OAuth, and what a bot does when it is started with a code. */
export function vendorSignInRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  const { people } = parts
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/auth/providers',
    who: { anonymous: true },
    tag: TAG,
    summary: 'Which ways to sign in there are',
    answer: schemas.providers,
    read: () => {
      const { telegram } = people.settings
      const bot_id = telegram && botIdOf(telegram.bot_token)
      return {
        password: true,
        telegram: bot_id === undefined ? null : { bot_id, bot_name: telegram?.bot_name ?? null },
        oauth: listProviders(people),
      }
    },
  })
  telegramRoutes(app, kit, parts)
  botRoutes(app, kit, parts)
  oauthRoutes(app, kit, parts)
  callbackRoute(app, kit, parts)
}

function telegramRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  const { people } = parts
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/telegram',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Sign in with what Telegram signed',
    description:
      'initData of a Mini App, or what the Login Widget handed over. A new user is made at the first time.',
    body: schemas.telegramBody,
    answer: schemas.signInAnswer,
    errors: { 401: ['vendor_proof_invalid'] },
    reply: async (call, reply) => {
      const { body } = call
      checkBrowser(call, body.mode, people)
      const outcome = await signInWithTelegram(kit.db, people, {
        proof: telegramProofOf(body),
        mode: body.mode,
        client: clientOf(call, body.device_id),
      })
      return sendOutcome(reply, parts, outcome)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/telegram/start_codes',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Get a code that lets this page in when the bot is started with it',
    body: schemas.startCodeBody,
    status: 201,
    answer: schemas.startCode,
    is_keyed: false,
    read: (call) => {
      const { mode, device_id } = call.body
      checkBrowser(call, mode, people)
      const client = clientOf(call, device_id)
      return createStartCode(kit.db, people, { purpose: 'sign_in', mode, client })
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/telegram/claim',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: 120,
    summary: 'Ask whether the bot was started with the code, and sign in if so',
    body: schemas.claimBody,
    answer: schemas.claimAnswer,
    errors: { 401: ['proof_invalid'] },
    reply: async (call, reply) => {
      const { network } = clientOf(call)
      const outcome = await claimStartCode(kit.db, people, { ...call.body, network })
      return sendOutcome(reply, parts, outcome ?? { status: 'waiting' })
    },
  })
}

/** One of the two is there: the schema saw to it. */
export function telegramProofOf(body: {
  init_data?: string | undefined
  widget?: Record<string, string | number> | undefined
}): TelegramProof {
  return body.init_data === undefined ? { widget: body.widget ?? {} } : { init_data: body.init_data }
}

function botRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/telegram/start_codes/describe',
    who: BOT,
    tag: TAG,
    summary: 'What a code is for, for the bot to ask before it is used',
    body: schemas.codeBody,
    answer: schemas.startCodeFacts,
    errors: { 401: ['proof_invalid'] },
    is_keyed: false,
    read: ({ body }) => describeStartCode(kit.db, kit.clock, body.code),
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/telegram/start_codes/redeem',
    who: BOT,
    tag: TAG,
    summary: 'Use a code for the person who started the bot and agreed',
    description: 'Called by the bot, with the user as Telegram told it. The code works once.',
    body: schemas.redeemBody,
    answer: schemas.redeemed,
    is_keyed: false,
    errors: { 401: ['proof_invalid'], 409: ['identity_taken'] },
    read: ({ body }) => {
      const { id, ...facts } = body.telegram_user
      return redeemStartCode(kit.db, people, { code: body.code, person: { id: String(id), ...facts } })
    },
  })
}

function oauthRoutes(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  const { people } = parts
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/oauth/:provider',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Begin a sign-in at Google or VK',
    params: schemas.providerPath,
    body: schemas.oauthBody,
    answer: schemas.oauthStart,
    errors: { 404: ['sign_in_not_offered'] },
    reply: async (call, reply) => {
      const { mode, device_id } = call.body
      checkBrowser(call, mode, people)
      const client = clientOf(call, device_id)
      const start = await beginOauth(kit.db, people, { provider: call.params.provider, mode, client })
      if (mode === 'cookie') setFlowCookie(reply, start.flow_token)
      return reply.send(start)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/auth/oauth/:provider/finish',
    who: BY_BODY,
    tag: TAG,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Finish it with the code the vendor gave',
    params: schemas.providerPath,
    body: schemas.oauthFinishBody,
    answer: schemas.signInAnswer,
    errors: { 401: ['proof_invalid', 'vendor_proof_invalid'] },
    reply: async (call, reply) => {
      const { network } = clientOf(call)
      const outcome = await finishOauth(kit.db, people, { ...call.params, ...call.body, network })
      return sendOutcome(reply, parts, outcome)
    },
  })
}

function callbackRoute(app: FastifyInstance, kit: RouteKit, parts: PeopleRouteKit): void {
  const { people } = parts
  addRoute(app, kit, {
    method: 'GET',
    url: '/auth/callback/:provider',
    who: BY_BODY,
    tag: TAG,
    is_hidden: true,
    anonymous_per_minute: PER_MINUTE,
    summary: 'Where a vendor sends a browser back to',
    params: schemas.providerPath,
    query: schemas.oauthCallback,
    answer: z.string(),
    reply: async (call, reply) => {
      const { code, state, device_id } = call.query
      const { flow } = readCookies(call.headers.cookie)
      // Without the cookie this browser did not begin: an app did, whose own page takes the code.
      if (code === undefined || flow === undefined) return sendPage(reply, { status: 400, ...NOT_DONE })
      const { provider } = call.params
      const outcome = await finishOauth(kit.db, people, {
        provider,
        code,
        state,
        device_id,
        flow_token: flow,
        network: clientOf(call).network,
      })
      if (outcome.status !== 'signed_in')
        return sendPage(reply, { title: 'One step more', body: SECOND_STEP })
      signedInBody(reply, parts.authenticator, outcome)
      return sendPage(reply, {
        title: 'You are signed in',
        body: html`<h1>You are signed in</h1>
          <p>This page can be closed.</p>`,
      })
    },
  })
}

const NOT_DONE = {
  title: 'The sign-in was not finished',
  body: html`<h1>The sign-in was not finished</h1>
    <p>Go back and begin again, in this browser.</p>`,
}
const SECOND_STEP = html`<h1>One step more</h1>
  <p>This account has a second factor. Go back and sign in with it.</p>`
