import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage } from '../kit/html.ts'
import { CANCEL_REASONS, cardBehaviour, DEFAULT_CARD } from './cards.ts'
import { completeMethod } from './methods.ts'
import type { PaymentRecord, SavedMethod, World } from './objects.ts'
import { pageText } from './page-text.ts'
import type { PageText } from './page-text.ts'
import { cancel, payAsBuyer } from './transitions.ts'

/**
 * The page the buyer is sent to by `confirmation_url`. Without scripts: everything is a form.
 *
 *   POST fields: action = pay | decline | confirm_3ds | refuse_3ds | leave,
 *   card_number, method (when the merchant chose none), reason (of a decline), save
 */
export function registerPages(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  const config = { emulator_route: 'page' as const }
  const payment_page = '/checkout/payments/v2/contract'
  const method_page = '/checkout/methods/v1/contract'
  app.get<{ Querystring: Record<string, unknown> }>(payment_page, { config }, async (request, reply) => {
    const record = find(world.payments, request.query['orderId'])
    return record ? showPayment(world, reply, record) : showUnknown(reply)
  })
  app.post<{ Querystring: Record<string, unknown>; Body: unknown }>(
    payment_page,
    { config },
    async (request, reply) => {
      const record = find(world.payments, request.query['orderId'])
      return record ? actOnPayment(world, reply, record, fieldsOf(request.body)) : showUnknown(reply)
    },
  )
  app.get<{ Querystring: Record<string, unknown> }>(method_page, { config }, async (request, reply) => {
    const method = find(world.methods, request.query['methodId'])
    return method ? showMethod(reply, method) : showUnknown(reply)
  })
  app.post<{ Querystring: Record<string, unknown>; Body: unknown }>(
    method_page,
    { config },
    async (request, reply) => {
      const method = find(world.methods, request.query['methodId'])
      if (!method) return showUnknown(reply)
      const { action } = fieldsOf(request.body)
      if (method.wire.status === 'pending' && action !== 'leave') {
        completeMethod(world, method, { outcome: action === 'pay' ? 'succeeded' : 'canceled' })
      }
      return goBack(reply, method.return_url) ?? showMethod(reply, method)
    },
  )
}

function find<T>(store: { get: (id: string) => T | undefined }, id: unknown): T | undefined {
  return typeof id === 'string' ? store.get(id) : undefined
}

function fieldsOf(body: unknown): Record<string, string> {
  if (typeof body !== 'object' || body === null) return {}
  return Object.fromEntries(
    Object.entries(body).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  )
}

function actOnPayment(
  world: World,
  reply: FastifyReply,
  record: PaymentRecord,
  fields: Record<string, string>,
): FastifyReply {
  // A page left open in a second tab: whatever is pressed there, a payment that is over stays as it is.
  if (record.wire.status === 'pending') {
    const refusal = play(world, reply, record, fields)
    if (refusal) return refusal
  }
  return goBack(reply, record.return_url) ?? showPayment(world, reply, record)
}

/** Does what was pressed; a reply is another page instead of the way back. */
function play(
  world: World,
  reply: FastifyReply,
  record: PaymentRecord,
  fields: Record<string, string>,
): FastifyReply | undefined {
  const { action, reason = 'general_decline', method } = fields
  const settings = world.kit.settings()
  if (method !== undefined && settings.payment_methods.includes(method)) record.method_type ??= method
  if (action === 'decline' || action === 'refuse_3ds') {
    const known = Object.hasOwn(CANCEL_REASONS, reason) ? reason : 'general_decline'
    cancel(world, record, { reason: action === 'refuse_3ds' ? '3d_secure_failed' : known })
    return undefined
  }
  if (action !== 'pay' && action !== 'confirm_3ds') return undefined
  record.wants_saving ||= fields['save'] === 'yes' && settings.is_autopayment_enabled
  if ((record.method_type ?? 'bank_card') !== 'bank_card') {
    payAsBuyer(world, record, {})
    return undefined
  }
  const card_number = (fields['card_number'] ?? DEFAULT_CARD).replace(/[\s-]/g, '')
  if (!/^\d{14,19}$/.test(card_number)) {
    return showPayment(world, reply, record, pageText(record.language).bad_card)
  }
  if (action === 'pay' && cardBehaviour(card_number).has_3ds) return showSecure(reply, record, card_number)
  payAsBuyer(world, record, { card_number, is_3ds_passed: action === 'confirm_3ds' })
  return undefined
}

function goBack(reply: FastifyReply, return_url: string | undefined): FastifyReply | undefined {
  return return_url === undefined ? undefined : reply.redirect(return_url, 303)
}

function showPayment(world: World, reply: FastifyReply, record: PaymentRecord, warning = ''): FastifyReply {
  const text = pageText(record.language)
  const { wire, language } = record
  const head =
    `<h1>${escapeHtml(`${wire.amount.value} ${wire.amount.currency}`)}</h1>` +
    `<p>${escapeHtml(wire.description ?? wire.id)}</p>`
  const body =
    wire.status === 'pending'
      ? payForm(world, record, text, warning)
      : outcome(text, record.return_url, statusText(text, wire.status))
  const page = renderPage({
    language,
    title: wire.description ?? wire.id,
    note: text.note,
    body: head + body,
  })
  return reply
    .code(warning === '' ? 200 : 400)
    .headers(PAGE_HEADERS)
    .send(page)
}

function payForm(world: World, record: PaymentRecord, text: PageText, warning: string): string {
  const { payment_methods, is_autopayment_enabled } = world.kit.settings()
  const kind = record.method_type
  const choice =
    kind === undefined
      ? `<label>${text.method}<select name="method">${payment_methods
          .map(
            (type) =>
              `<option value="${escapeHtml(type)}">${escapeHtml(text.methods[type] ?? type)}</option>`,
          )
          .join('')}</select></label>`
      : `<p>${escapeHtml(text.methods[kind] ?? kind)}</p>`
  const card =
    kind === undefined || kind === 'bank_card'
      ? `<label>${text.card}<input type="text" name="card_number" inputmode="numeric"
 autocomplete="off" value="${DEFAULT_CARD}"></label>`
      : ''
  const save =
    is_autopayment_enabled && !record.wants_saving
      ? `<label class="row"><input type="checkbox" name="save" value="yes">${text.save}</label>`
      : ''
  const reasons = Object.keys(CANCEL_REASONS)
    .map((reason) => `<option${reason === 'general_decline' ? ' selected' : ''}>${reason}</option>`)
    .join('')
  return `${warning === '' ? '' : `<p role="alert">${escapeHtml(warning)}</p>`}
<form method="post">${choice}${card}${save}
<button class="main" name="action" value="pay">${text.pay}</button></form>
<hr>
<form method="post"><label>${text.reason}<select name="reason">${reasons}</select></label>
<button name="action" value="decline">${text.decline}</button></form>
<form method="post"><button name="action" value="leave">${text.leave}</button></form>`
}

function showSecure(reply: FastifyReply, record: PaymentRecord, card_number: string): FastifyReply {
  const text = pageText(record.language)
  const save = record.wants_saving ? '<input type="hidden" name="save" value="yes">' : ''
  const body = `<h1>${text.secure}</h1><p>${text.secure_note}</p>
<form method="post"><input type="hidden" name="card_number" value="${card_number}">${save}
<button class="main" name="action" value="confirm_3ds">${text.pass}</button></form>
<form method="post"><button name="action" value="refuse_3ds">${text.refuse}</button></form>`
  return reply
    .headers(PAGE_HEADERS)
    .send(renderPage({ language: record.language, title: text.secure, note: text.note, body }))
}

function showMethod(reply: FastifyReply, method: SavedMethod): FastifyReply {
  const text = pageText(method.language)
  const { status } = method.wire
  const body =
    status === 'pending'
      ? `<h1>${text.save_title}</h1><p></p>
<form method="post"><button class="main" name="action" value="pay">${text.agree}</button></form>
<form method="post"><button name="action" value="decline">${text.decline}</button></form>
<form method="post"><button name="action" value="leave">${text.leave}</button></form>`
      : outcome(text, method.return_url, status === 'active' ? text.is_saved : text.is_canceled)
  return reply
    .headers(PAGE_HEADERS)
    .send(renderPage({ language: method.language, title: text.save_title, note: text.note, body }))
}

function outcome(text: PageText, return_url: string | undefined, message: string): string {
  const back =
    return_url === undefined
      ? ''
      : `<a class="button" rel="noreferrer" href="${escapeHtml(return_url)}">${text.back}</a>`
  return `<p role="status">${escapeHtml(message)}</p>${back}`
}

function statusText(text: PageText, status: string): string {
  if (status === 'succeeded') return text.is_paid
  return status === 'canceled' ? text.is_canceled : text.is_held
}

function showUnknown(reply: FastifyReply): FastifyReply {
  const text = pageText('ru')
  const body = `<h1>404</h1><p>${text.unknown}</p>`
  return reply
    .code(404)
    .headers(PAGE_HEADERS)
    .send(renderPage({ language: 'ru', title: text.unknown, note: text.note, body }))
}
