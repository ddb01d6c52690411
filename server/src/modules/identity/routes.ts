import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { html, type Html, sendPage } from '#http/page'
import { addRoute, type RouteKit } from '#http/routing'
import type { Actor } from '#http/actor'
import { createApiKey, getApiKey, type KeyMaker, listApiKeys, revokeApiKey } from './api-keys.ts'
import { SetupTokenInvalid } from './errors.ts'
import { scopesWithin } from './staff-permissions.ts'
import {
  apiKey,
  apiKeyPage,
  apiKeyPath,
  apiKeyWithSecret,
  newApiKey,
  setupBody,
  setupQuery,
} from './schemas.ts'
import type { KeyMode } from './secret-key.ts'
import { isSetupTokenValid, redeemSetupToken } from './setup.ts'
import { staffRoutes } from './staff-routes.ts'
import { pageQuery } from '#http/wire'

export interface IdentitySettings {
  /** Of this installation: what keys are made for. */
  mode: KeyMode
}

const ADMIN = { key: 'admin', staff: 'api_keys:write' } as const
/** A token has 190 bits, so guessing is hopeless; this keeps a guesser from being heard. */
const SETUP_PER_MINUTE = 20

/** `/v1/api_keys` and the one-time set-up that makes the first key. */
export function identityRoutes(app: FastifyInstance, kit: RouteKit, settings: IdentitySettings): void {
  keyRoutes(app, kit, settings)
  setupRoutes(app, kit, settings)
  staffRoutes(app, kit)
}

function keyRoutes(app: FastifyInstance, kit: RouteKit, { mode }: IdentitySettings): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/api_keys',
    who: ADMIN,
    summary: 'Make an API key',
    description:
      'The secret is shown in this answer and never again. A key cannot give scopes it does not hold.',
    tag: 'api keys',
    body: newApiKey,
    status: 201,
    answer: apiKeyWithSecret,
    shown_once: ['secret'],
    errors: { 403: ['missing_scope'] },
    audit: { action: 'api_key.created' },
    write: (tx, { actor, body }) => createApiKey(tx, clock, { mode, maker: makerOf(actor), key: body }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/api_keys',
    who: ADMIN,
    summary: 'List API keys, newest first',
    description: 'Revoked keys too.',
    tag: 'api keys',
    query: pageQuery,
    answer: apiKeyPage,
    read: ({ query }) => listApiKeys(db, cursors, query),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/api_keys/current',
    who: { key: 'any' },
    summary: 'Get the key this request was made with',
    tag: 'api keys',
    answer: apiKey,
    read: ({ actor }) => getApiKey(db, actor.id),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/api_keys/:id',
    who: ADMIN,
    summary: 'Get an API key',
    tag: 'api keys',
    params: apiKeyPath,
    answer: apiKey,
    read: ({ params }) => getApiKey(db, params.id),
  })
  addRoute(app, kit, {
    method: 'DELETE',
    url: '/v1/api_keys/:id',
    who: ADMIN,
    summary: 'Revoke an API key',
    description: 'For good. Other processes of this installation follow within five seconds.',
    tag: 'api keys',
    params: apiKeyPath,
    answer: apiKey,
    audit: { action: 'api_key.revoked' },
    write: (tx, { params }) => revokeApiKey(tx, clock, params.id),
  })
}

function setupRoutes(app: FastifyInstance, kit: RouteKit, { mode }: IdentitySettings): void {
  const { db, clock } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/setup',
    who: { anonymous: true },
    summary: 'Exchange a set-up link for the first admin key',
    description: 'Works once for every link that a first start prints.',
    tag: 'api keys',
    anonymous_per_minute: SETUP_PER_MINUTE,
    body: setupBody,
    status: 201,
    answer: apiKeyWithSecret,
    errors: { 401: ['setup_token_invalid'] },
    is_keyed: false,
    read: ({ body }) => db.transact((tx) => redeemSetupToken(tx, clock, { token: body.token, mode })),
  })
  const page = { who: { anonymous: true }, is_hidden: true, tag: 'api keys', answer: z.string() } as const
  addRoute(app, kit, {
    ...page,
    method: 'GET',
    url: '/setup',
    summary: 'The page of a set-up link',
    anonymous_per_minute: SETUP_PER_MINUTE,
    query: setupQuery,
    reply: async ({ query }, reply) => {
      const token = query.token ?? ''
      if (!(await isSetupTokenValid(db, clock, token))) return sendPage(reply, { status: 401, ...OVER })
      return sendPage(reply, { title: 'Set up Kopilka', body: askPage(token) })
    },
  })
  addRoute(app, kit, {
    ...page,
    method: 'POST',
    url: '/setup',
    summary: 'Uses a set-up link and shows the first admin key',
    anonymous_per_minute: SETUP_PER_MINUTE,
    is_form: true,
    body: setupBody,
    reply: async ({ body }, reply) => {
      try {
        const { secret } = await db.transact((tx) => redeemSetupToken(tx, clock, { token: body.token, mode }))
        return sendPage(reply, { title: 'Your admin key', body: keyPage(secret, app.base_url) })
      } catch (error) {
        if (error instanceof SetupTokenInvalid) return sendPage(reply, { status: error.status, ...OVER })
        throw error
      }
    },
  })
}

function makerOf(actor: Actor): KeyMaker {
  if (actor.kind === 'key') return { id: actor.id, scopes: actor.scopes }
  return { id: actor.id, scopes: actor.kind === 'user' ? scopesWithin(actor.permissions) : new Set() }
}

const OVER = {
  title: 'This link is not valid any more',
  body: html`<h1>This link is not valid any more</h1>
    <p>It was used, is older than a day, or a newer one was made.</p>
    <p class="soft">If you have no admin key, start the server again: it prints a new link.</p>`,
}

function askPage(token: string): Html {
  return html`<h1>Set up Kopilka</h1>
    <p>This makes the first admin key. It is shown once, on the next page: have a safe place for it ready.</p>
    <form method="post" action="/setup">
      <input type="hidden" name="token" value="${token}" />
      <button type="submit">Make the admin key</button>
    </form>`
}

function keyPage(secret: string, base_url: string): Html {
  const address = base_url === '' ? 'http://localhost:8080' : base_url
  return html`<h1>Your admin key</h1>
    <p>It holds every permission. Keep it where you keep passwords: it is not shown again.</p>
    <pre class="wrap">${secret}</pre>
    <p>Try it:</p>
    <pre>
curl ${address}/v1/api_keys/current \\
  -H 'Authorization: Bearer ${secret}'</pre>
    <p class="soft">
      Make keys with fewer permissions for your programs by POST /v1/api_keys; the interface is described at
      <a href="/docs">/docs</a>.
    </p>`
}
