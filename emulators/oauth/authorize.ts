import type { FastifyInstance, FastifyReply } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage } from '../kit/html.ts'
import { fieldsOf } from './world.ts'
import type { Form, OauthWorld } from './world.ts'

const CODE_MS = 600_000
const VENDORS = {
  google: { path: '/google/o/oauth2/v2/auth', title: 'Google' },
  vk: { path: '/vk/authorize', title: 'VK ID' },
} as const

/**
 * The page where a person agrees, without scripts. POST fields: action = agree | refuse, id, name, email. The
 * request itself stays in the query.
 */
export function registerAuthorizePages(app: FastifyInstance, world: OauthWorld): void {
  const config = { emulator_route: 'page' as const }
  for (const vendor of ['google', 'vk'] as const) {
    const { path, title } = VENDORS[vendor]
    app.get(path, { config }, async (request, reply) => {
      const query = fieldsOf(request.query)
      const fault = faultOf(world, vendor, query)
      return fault === undefined ? showForm(reply, title, request.url) : showFault(reply, title, fault)
    })
    app.post(path, { config }, async (request, reply) => {
      const query = fieldsOf(request.query)
      const fault = faultOf(world, vendor, query)
      if (fault !== undefined) return showFault(reply, title, fault)
      return reply.redirect(answer(world, vendor, query, fieldsOf(request.body)), 303)
    })
  }
}

function faultOf({ kit }: OauthWorld, vendor: 'google' | 'vk', query: Form): string | undefined {
  const settings = kit.settings()
  const { client_id, redirect_uri = '', response_type, code_challenge = '', code_challenge_method } = query
  if (client_id !== (vendor === 'google' ? settings.google_client_id : settings.vk_client_id)) {
    return 'invalid_client'
  }
  // Never sent back there: nobody knows whose address it is.
  const is_known = settings.redirect_uris.length === 0 || settings.redirect_uris.includes(redirect_uri)
  if (!URL.canParse(redirect_uri) || !is_known) return 'redirect_uri_mismatch'
  if (response_type !== 'code') return 'unsupported_response_type'
  if (code_challenge_method !== 'S256' || !/^[\w-]{43}$/.test(code_challenge)) return 'invalid_request: PKCE'
  if ((query['state'] ?? '').length < 32) return 'invalid_request: state'
  return undefined
}

function answer(world: OauthWorld, vendor: 'google' | 'vk', query: Form, form: Form): string {
  const { kit } = world
  const state = query['state'] ?? ''
  const redirect_uri = query['redirect_uri'] ?? ''
  const back = new URL(redirect_uri)
  back.searchParams.set('state', state)
  if (form['action'] === 'refuse') {
    back.searchParams.set('error', 'access_denied')
    return back.href
  }
  const device_id = vendor === 'vk' ? kit.random.hex(16) : ''
  const code = `${vendor}_${kit.random.hex(24)}`
  const { id = '', name = '', email = '' } = form
  world.codes.add(code, {
    vendor,
    person: { id: id || '100200300', name: name || 'Anna Test', email: email || 'anna@gmail.com' },
    client_id: query['client_id'] ?? '',
    redirect_uri,
    code_challenge: query['code_challenge'] ?? '',
    nonce: query['nonce'] ?? '',
    state,
    device_id,
    expires_ms: kit.now().getTime() + CODE_MS,
  })
  back.searchParams.set('code', code)
  if (vendor === 'vk') {
    back.searchParams.set('device_id', device_id)
    back.searchParams.set('type', 'code_v2')
  }
  return back.href
}

function showForm(reply: FastifyReply, title: string, url: string): FastifyReply {
  const field = (name: string, value: string): string =>
    `<label>${name}<input type="text" name="${name}" value="${escapeHtml(value)}"></label>`
  const body = `<h1>${escapeHtml(title)}</h1><p>Who signs in?</p>
<form method="post" action="${escapeHtml(url)}">
${field('id', '100200300')}${field('name', 'Anna Test')}${field('email', 'anna@gmail.com')}
<button class="main" name="action" value="agree">Agree</button>
<button name="action" value="refuse">Refuse</button></form>`
  const note = 'Emulator: nobody is really signed in'
  return reply.headers(PAGE_HEADERS).send(renderPage({ language: 'en', title, note, body }))
}

function showFault(reply: FastifyReply, title: string, fault: string): FastifyReply {
  const body = `<h1>${escapeHtml(title)}</h1><p>${escapeHtml(fault)}</p>`
  const page = renderPage({ language: 'en', title, note: 'Emulator', body })
  return reply.code(400).headers(PAGE_HEADERS).send(page)
}
