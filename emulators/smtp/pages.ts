import type { FastifyInstance } from 'fastify'
import type { Store } from '../emulator.ts'
import { escapeHtml, PAGE_HEADERS, renderPage } from '../kit/html.ts'
import type { CaughtMail } from './mails.ts'

/** How many the page shows; the API pages through the rest. */
const SHOWN = 100
const NOTE = 'Mail emulator: nothing is delivered'

/** The page of caught mails, one mail, and both as JSON: `/mails?to=`, `/mails/:id`. */
export function registerPages(
  app: FastifyInstance,
  { mails, urlOf }: { mails: Store<CaughtMail>; urlOf: () => string },
): void {
  const config = { emulator_route: 'page' as const }
  app.get('/server', { config }, () => ({ smtp_url: urlOf() }))
  app.get('/', { config }, async (_request, reply) => {
    const { items } = mails.page({ limit: SHOWN })
    const rows = items.map(
      ({ id, to, subject, received_at }) =>
        `<p><a href="/inbox/${id}">${escapeHtml(subject || '(no subject)')}</a><br>` +
        `${escapeHtml(to.join(', '))} · ${escapeHtml(received_at)}</p>`,
    )
    const address = escapeHtml(urlOf().replace(/\/\/.*@/, '//…@'))
    const body = `<h1>Mails</h1><p>${address}</p>${rows.join('') || '<p>None yet.</p>'}`
    return reply.headers(PAGE_HEADERS).send(renderPage({ language: 'en', title: 'Mails', note: NOTE, body }))
  })
  app.get<{ Params: { id: string } }>('/inbox/:id', { config }, async (request, reply) => {
    const mail = mails.get(request.params.id)
    if (!mail) return reply.code(404).send({ error: 'unknown_mail' })
    const body =
      `<h1>${escapeHtml(mail.subject)}</h1>` +
      `<p>${escapeHtml(mail.from)} → ${escapeHtml(mail.to.join(', '))}` +
      `<br>${escapeHtml(mail.received_at)}</p>` +
      `<p style="white-space:pre-wrap;color:inherit">${linked(mail.text)}</p>` +
      '<p><a href="/">All mails</a></p>'
    return reply
      .headers(PAGE_HEADERS)
      .send(renderPage({ language: 'en', title: mail.subject, note: NOTE, body }))
  })
  app.get<{ Querystring: { to?: string } }>('/mails', { config }, async (request) => {
    const { to } = request.query
    const { items } = mails.page({ limit: SHOWN }, (mail) => to === undefined || mail.to.includes(to))
    return { items }
  })
  app.get<{ Params: { id: string } }>('/mails/:id', { config }, async (request, reply) => {
    return mails.get(request.params.id) ?? reply.code(404).send({ error: 'unknown_mail' })
  })
}

function linked(text: string): string {
  return escapeHtml(text).replaceAll(
    /https?:\/\/[^\s<>&]+(?:&amp;[^\s<>&]+)*/g,
    (link) => `<a href="${link}">${link}</a>`,
  )
}
