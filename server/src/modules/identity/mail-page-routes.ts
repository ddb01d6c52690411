import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { html, type Html, sendPage } from '#http/page'
import { addRoute, type RouteKit } from '#http/routing'
import { DomainError } from '#kernel/errors'
import { negotiateLocale, translate } from '#kernel/locale'
import { resetPassword } from './password-changes.ts'
import { ProofInvalid, WeakPassword } from './people-errors.ts'
import { BY_BODY, confirmByMail, PER_MINUTE, type PeopleRouteKit } from './people-routes.ts'

const query = z.object({ token: z.string().max(200).default('') })
const form = z.strictObject({ token: z.string().max(200), password: z.string().max(1024).optional() })

/**
 * `/auth/mail`: the page behind the links in mails. Looking at it does nothing, because programs that check
 * mails look at links; only its button does.
 */
export function mailPageRoutes(app: FastifyInstance, kit: RouteKit, { people }: PeopleRouteKit): void {
  const page = {
    url: '/auth/mail',
    who: BY_BODY,
    is_hidden: true,
    tag: 'Sign-in',
    answer: z.string(),
    anonymous_per_minute: PER_MINUTE,
  } as const
  addRoute(app, kit, {
    ...page,
    method: 'GET',
    summary: 'The page of a link in a mail',
    query,
    reply: async (call, reply) => {
      const locale = negotiateLocale(call.headers['accept-language'])
      return sendPage(reply, {
        locale,
        title: text(locale, 'title'),
        body: askPage(locale, call.query.token),
      })
    },
  })
  addRoute(app, kit, {
    ...page,
    method: 'POST',
    summary: 'Does what a link in a mail is for',
    is_form: true,
    body: form,
    reply: async (call, reply) => {
      const locale = negotiateLocale(call.headers['accept-language'])
      const { token, password = '' } = call.body
      const show = (status: number, body: Html) =>
        sendPage(reply, { status, locale, title: text(locale, 'title'), body })
      try {
        if (isReset(token)) await resetPassword(kit.db, people, { token, password })
        else await confirmByMail(kit, people, token)
        return show(
          200,
          html`<h1>${text(locale, 'done')}</h1>
            <p>${text(locale, isReset(token) ? 'reset_done' : 'confirmed')}</p>`,
        )
      } catch (error) {
        if (error instanceof WeakPassword) {
          return show(
            400,
            html`<p class="bad">${text(locale, 'weak')}</p>
              ${askPage(locale, token)}`,
          )
        }
        if (!(error instanceof DomainError)) throw error
        const key = error instanceof ProofInvalid ? 'over' : 'refused'
        return show(
          error.status,
          html`<h1>${text(locale, 'title')}</h1>
            <p class="bad">${text(locale, key)}</p>`,
        )
      }
    },
  })
}

function askPage(locale: string, token: string): Html {
  const field = isReset(token)
    ? html`<label for="password">${text(locale, 'new_password')}</label>
        <input
          id="password"
          name="password"
          type="password"
          autocomplete="new-password"
          minlength="8"
          maxlength="256"
          required
        />`
    : html``
  return html`<h1>${text(locale, isReset(token) ? 'reset' : 'title')}</h1>
    <form method="post" action="/auth/mail">
      <input type="hidden" name="token" value="${token}" />
      ${field}
      <button type="submit">${text(locale, isReset(token) ? 'set' : 'confirm')}</button>
    </form>`
}

function isReset(token: string): boolean {
  return token.startsWith('pwr_')
}

function text(locale: string, key: string): string {
  return translate(locale, `mail:page.${key}`)
}
