import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage } from '../kit/html.ts'
import type { OrderPlan, World } from './objects.ts'
import { approve } from './orders.ts'

const TEXTS = {
  en: {
    note: 'PayPal emulator: no real money here.',
    agree: 'Agree and pay',
    decline: 'Agree, with a card that is declined',
    leave: 'Cancel and return',
    over: 'This page is closed:',
    unknown: 'There is no such order',
  },
  ru: {
    note: 'Эмулятор PayPal: настоящих денег здесь нет.',
    agree: 'Согласиться и заплатить',
    decline: 'Согласиться, но карта будет отклонена',
    leave: 'Отказаться и вернуться',
    over: 'Страница закрыта:',
    unknown: 'Такого заказа нет',
  },
}

type Query = Readonly<Record<string, string>>

/** The page the buyer approves on. POST `action` = approve | decline | leave. */
export function registerPage(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  const config = { emulator_route: 'page' as const }
  const find = (query: Query) => world.orders.get(query['token'] ?? '')
  app.get<{ Querystring: Query }>('/checkoutnow', { config }, async ({ query }, reply) =>
    show(reply, find(query)),
  )
  app.post<{ Querystring: Query; Body: Query | undefined }>(
    '/checkoutnow',
    { config },
    async ({ query, body }, reply) => {
      const plan = find(query)
      if (!plan || !isOpen(plan)) return show(reply, plan)
      const { order, return_url, cancel_url } = plan
      const action = body?.['action']
      if (action === 'leave') return back(reply, plan, cancel_url, { token: order.id })
      if (action !== 'approve' && action !== 'decline') return show(reply, plan)
      approve(world, plan, action === 'decline' ? 'INSTRUMENT_DECLINED' : undefined)
      return back(reply, plan, return_url, { token: order.id, PayerID: 'QYR5Z8XDVJNXQ' })
    },
  )
}

/** A declined buyer comes back to the same page. */
function isOpen({ order, outcome }: OrderPlan): boolean {
  if (order.status === 'APPROVED') return outcome !== undefined
  return order.status === 'CREATED' || order.status === 'PAYER_ACTION_REQUIRED'
}

function back(reply: FastifyReply, plan: OrderPlan, address: string, facts: Query): FastifyReply {
  if (!URL.canParse(address)) return show(reply, plan)
  const url = new URL(address)
  for (const [name, value] of Object.entries(facts)) url.searchParams.set(name, value)
  return reply.redirect(url.toString(), 303)
}

function show(reply: FastifyReply, plan: OrderPlan | undefined): FastifyReply {
  const language = plan?.locale.startsWith('ru') ? 'ru' : 'en'
  const text = TEXTS[language]
  const unit = plan?.order.purchase_units[0]
  const title = unit ? `${unit.amount.value} ${unit.amount.currency_code}` : '404'
  const button = (action: string, label: string, style = '') =>
    `<form method="post"><button${style} name="action" value="${action}">${label}</button></form>`
  const buttons = [
    button('approve', text.agree, ' class="main"'),
    button('decline', text.decline),
    button('leave', text.leave),
  ].join('\n')
  const state = plan ? `${text.over} ${plan.order.status}` : text.unknown
  const rest = plan && isOpen(plan) ? buttons : `<p role="status">${escapeHtml(state)}</p>`
  const body = `<h1>${escapeHtml(title)}</h1><p>${escapeHtml(unit?.description ?? '')}</p>${rest}`
  return reply
    .code(plan ? 200 : 404)
    .headers(PAGE_HEADERS)
    .send(renderPage({ language, title, note: text.note, body }))
}
