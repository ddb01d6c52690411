import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage } from '../kit/html.ts'
import { CANCEL_REASONS, cardBehaviour, DEFAULT_CARD } from './cards.ts'
import { payInvoice, refreshInvoice } from './invoices.ts'
import { VendorError } from './errors.ts'
import { completeMethod } from './methods.ts'
import type { InvoiceRecord, PaymentRecord, SavedMethod, World } from './objects.ts'
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
  app.setErrorHandler((error: unknown, _request, reply) => showRefusal(reply, error))
  const config = { emulator_route: 'page' as const }
  const page = <Held>(kind: PageKind<Held>) => {
    const url = `/checkout/${kind.path}/contract`
    app.get<{ Querystring: Record<string, unknown> }>(url, { config }, async (request, reply) => {
      const held = find(kind.store, request.query[kind.parameter])
      return held ? kind.show(reply, held) : showUnknown(reply)
    })
    app.post<{ Querystring: Record<string, unknown> }>(url, { config }, async (request, reply) => {
      const held = find(kind.store, request.query[kind.parameter])
      return held ? kind.act(reply, held, fieldsOf(request.body)) : showUnknown(reply)
    })
  }
  page({
    path: 'payments/v2',
    parameter: 'orderId',
    store: world.payments,
    show: (reply, record) => showPayment(world, reply, record),
    act: (reply, record, fields) => actOnPayment(world, reply, record, fields),
  })
  page({
    path: 'methods/v1',
    parameter: 'methodId',
    store: world.methods,
    show: showMethod,
    act: (reply, method, fields) => actOnMethod(world, reply, method, fields),
  })
  page({
    path: 'invoices/v1',
    parameter: 'invoiceId',
    store: world.invoices,
    show: (reply, record) => showInvoice(world, reply, record),
    act: (reply, record) => actOnInvoice(world, reply, record),
  })
}

interface PageKind<Held> {
  path: string
  /** The query parameter that holds the id. */
  parameter: string
  store: { get: (id: string) => Held | undefined }
  show: (reply: FastifyReply, held: Held) => FastifyReply
  act: (reply: FastifyReply, held: Held, fields: Record<string, string>) => FastifyReply
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
  const { action, reason = 'general_decline' } = fields
  if (action === 'decline' || action === 'refuse_3ds') {
    const known = Object.hasOwn(CANCEL_REASONS, reason) ? reason : 'general_decline'
    cancel(world, record, { reason: action === 'refuse_3ds' ? '3d_secure_failed' : known })
    return undefined
  }
  if (action !== 'pay' && action !== 'confirm_3ds') return undefined
  const { payment_methods, is_autopayment_enabled } = world.kit.settings()
  const chosen = payment_methods.find((type) => type === fields['method'])
  const method_type = record.method_type ?? chosen ?? 'bank_card'
  const card_number = (fields['card_number'] ?? DEFAULT_CARD).replace(/[\s-]/g, '')
  const is_card = method_type === 'bank_card'
  const wants_saving = record.wants_saving || (fields['save'] === 'yes' && is_autopayment_enabled)
  if (is_card && !/^\d{14,19}$/.test(card_number)) {
    return showPayment(world, reply, record, pageText(record.language).bad_card)
  }
  if (is_card && action === 'pay' && cardBehaviour(card_number).has_3ds) {
    return showSecure(reply, record, { card_number, wants_saving })
  }
  record.wants_saving = wants_saving
  const is_3ds_passed = action === 'confirm_3ds'
  payAsBuyer(world, record, { method_type, ...(is_card ? { card_number, is_3ds_passed } : {}) })
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

function showSecure(
  reply: FastifyReply,
  record: PaymentRecord,
  chosen: { card_number: string; wants_saving: boolean },
): FastifyReply {
  const text = pageText(record.language)
  const save = chosen.wants_saving ? '<input type="hidden" name="save" value="yes">' : ''
  const body = `<h1>${text.secure}</h1><p>${text.secure_note}</p>
<form method="post"><input type="hidden" name="card_number" value="${chosen.card_number}">${save}
<input type="hidden" name="method" value="bank_card">
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

function actOnMethod(
  world: World,
  reply: FastifyReply,
  method: SavedMethod,
  { action }: Record<string, string>,
): FastifyReply {
  if (method.wire.status === 'pending' && action !== 'leave') {
    completeMethod(world, method, { outcome: action === 'pay' ? 'succeeded' : 'canceled' })
  }
  return goBack(reply, method.return_url) ?? showMethod(reply, method)
}

function actOnInvoice(world: World, reply: FastifyReply, record: InvoiceRecord): FastifyReply {
  if (refreshInvoice(world, record).status !== 'pending') return showInvoice(world, reply, record)
  return (
    goBack(reply, payInvoice(world, record).confirmation?.confirmation_url) ??
    showInvoice(world, reply, record)
  )
}

function showInvoice(world: World, reply: FastifyReply, record: InvoiceRecord): FastifyReply {
  const text = pageText(record.language)
  const { status, cart, description, id } = refreshInvoice(world, record)
  const lines = cart.map(({ description: name, quantity, price, discount_price = price }) =>
    escapeHtml(`${name} × ${quantity}: ${discount_price.value} ${discount_price.currency}`),
  )
  const button = `<button class="main" name="action" value="pay">${text.pay}</button>`
  const body =
    `<h1>${escapeHtml(description ?? text.invoice)}</h1><p>${lines.join('<br>')}</p>` +
    (status === 'pending'
      ? `<form method="post">${button}</form>`
      : outcome(text, undefined, status === 'succeeded' ? text.is_paid : text.is_canceled))
  return reply
    .headers(PAGE_HEADERS)
    .send(renderPage({ language: record.language, title: description ?? id, note: text.note, body }))
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

/** What the API would refuse, or a form that cannot be read; anything else is a mistake of ours. */
function showRefusal(reply: FastifyReply, error: unknown): FastifyReply {
  const is_refusal = error instanceof VendorError || (error instanceof Error && 'statusCode' in error)
  if (!is_refusal) throw error
  const text = pageText('ru')
  const body = `<h1>400</h1><p>${escapeHtml(error.message)}</p>`
  return reply
    .code(400)
    .headers(PAGE_HEADERS)
    .send(renderPage({ language: 'en', title: '400', note: text.note, body }))
}

function showUnknown(reply: FastifyReply): FastifyReply {
  const text = pageText('ru')
  const body = `<h1>404</h1><p>${text.unknown}</p>`
  return reply
    .code(404)
    .headers(PAGE_HEADERS)
    .send(renderPage({ language: 'ru', title: text.unknown, note: text.note, body }))
}
