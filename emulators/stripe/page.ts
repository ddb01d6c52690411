import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage } from '../kit/html.ts'
import { cardBehaviour, DEFAULT_CARD } from './cards.ts'
import type { SessionPlan, World } from './objects.ts'
import { payOnPage } from './payments.ts'

const TEXTS = {
  en: {
    note: 'Stripe emulator: no real money here.',
    card: 'Card number',
    pay: 'Pay',
    later: 'Pay by a slow method',
    leave: 'Leave without paying',
    secure: '3-D Secure: your bank asks to confirm',
    pass: 'Confirm',
    refuse: 'Refuse',
    declined: 'The card was declined.',
    bad_card: 'A card number has 14 to 19 digits.',
    over: 'This page is closed:',
    unknown: 'There is no such page',
  },
  ru: {
    note: 'Эмулятор Stripe: настоящих денег здесь нет.',
    card: 'Номер карты',
    pay: 'Заплатить',
    later: 'Заплатить медленным способом',
    leave: 'Уйти без оплаты',
    secure: '3-D Secure: банк просит подтвердить',
    pass: 'Подтвердить',
    refuse: 'Не подтверждать',
    declined: 'Карта отклонена.',
    bad_card: 'В номере карты от 14 до 19 цифр.',
    over: 'Страница закрыта:',
    unknown: 'Такой страницы нет',
  },
}

/** The hosted page. POST fields: action = pay | later | confirm_3ds | refuse_3ds | leave, card_number. */
export function registerPage(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  const config = { emulator_route: 'page' as const }
  app.get<{ Params: { id: string } }>('/c/pay/:id', { config }, async (request, reply) => {
    const plan = world.sessions.get(request.params.id)
    return plan ? send(reply, plan, body(plan)) : sendUnknown(reply)
  })
  app.post<{ Params: { id: string } }>('/c/pay/:id', { config }, async (request, reply) => {
    const plan = world.sessions.get(request.params.id)
    if (!plan) return sendUnknown(reply)
    return press(world, reply, plan, fieldsOf(request.body))
  })
}

function press(
  world: World,
  reply: FastifyReply,
  plan: SessionPlan,
  fields: Record<string, string>,
): FastifyReply {
  const { session } = plan
  const text = textOf(plan)
  if (session.status !== 'open') return send(reply, plan, body(plan))
  const { action } = fields
  if (action === 'leave') return reply.redirect(session.cancel_url ?? session.success_url, 303)
  if (action === 'refuse_3ds') {
    payOnPage(world, plan, { decline: { code: 'authentication_required' } })
    return send(reply, plan, body(plan, text.declined))
  }
  if (action !== 'pay' && action !== 'later' && action !== 'confirm_3ds') return send(reply, plan, body(plan))
  const card_number = (fields['card_number'] ?? DEFAULT_CARD).replace(/[\s-]/g, '')
  if (!/^\d{14,19}$/.test(card_number)) return send(reply, plan, body(plan, text.bad_card), 400)
  if (action === 'pay' && cardBehaviour(card_number).has_3ds)
    return send(reply, plan, secureBody(plan, card_number))
  payOnPage(world, plan, { card_number, is_delayed: action === 'later' })
  if (session.payment_intent === null || !isOver(plan)) return send(reply, plan, body(plan, text.declined))
  return reply.redirect(session.success_url.replaceAll('{CHECKOUT_SESSION_ID}', session.id), 303)
}

/** `status` changes while a page is paid; read anew, not as the compiler remembers it. */
function isOver(plan: SessionPlan): boolean {
  return plan.session.status !== 'open'
}

function body(plan: SessionPlan, warning = ''): string {
  const { session, description } = plan
  const text = textOf(plan)
  const sum = `${session.amount_total} ${session.currency.toUpperCase()} (minor units)`
  const head = `<h1>${escapeHtml(sum)}</h1><p>${escapeHtml(description)}</p>`
  if (session.status !== 'open') return `${head}<p role="status">${text.over} ${session.status}</p>`
  return `${head}${warning === '' ? '' : `<p role="alert">${escapeHtml(warning)}</p>`}
<form method="post"><label>${text.card}<input type="text" name="card_number" inputmode="numeric"
 autocomplete="off" value="${DEFAULT_CARD}"></label>
<button class="main" name="action" value="pay">${text.pay}</button></form>
<form method="post"><button name="action" value="later">${text.later}</button></form>
<form method="post"><button name="action" value="leave">${text.leave}</button></form>`
}

function secureBody(plan: SessionPlan, card_number: string): string {
  const text = textOf(plan)
  return `<h1>${text.secure}</h1><form method="post">
<input type="hidden" name="card_number" value="${card_number}">
<button class="main" name="action" value="confirm_3ds">${text.pass}</button></form>
<form method="post"><button name="action" value="refuse_3ds">${text.refuse}</button></form>`
}

function textOf(plan: SessionPlan): (typeof TEXTS)['en'] {
  return plan.session.locale === 'ru' ? TEXTS.ru : TEXTS.en
}

function send(reply: FastifyReply, plan: SessionPlan, html: string, status = 200): FastifyReply {
  const language = plan.session.locale === 'ru' ? 'ru' : 'en'
  const page = renderPage({ language, title: plan.description, note: textOf(plan).note, body: html })
  return reply.code(status).headers(PAGE_HEADERS).send(page)
}

function sendUnknown(reply: FastifyReply): FastifyReply {
  const { note, unknown } = TEXTS.en
  const page = renderPage({ language: 'en', title: unknown, note, body: `<h1>404</h1><p>${unknown}</p>` })
  return reply.code(404).headers(PAGE_HEADERS).send(page)
}

function fieldsOf(form: unknown): Record<string, string> {
  if (typeof form !== 'object' || form === null) return {}
  return Object.fromEntries(
    Object.entries(form).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  )
}
