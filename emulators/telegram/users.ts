import formbody from '@fastify/formbody'
import type { FastifyInstance } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage, wayBack } from '../kit/html.ts'
import { addMessage, pushUpdate, userOf, wireUser } from './objects.ts'
import type { World } from './objects.ts'
import { pay } from './payments.ts'

/**
 * What people do in their app, for tests and demos:
 *
 *   GET  /invoice/{id}                      the page of an invoice link; POST user_id pays
 *   POST /users/{id}/messages {text}        writes to the bot
 *   POST /users/{id}/files {kind, name, mime_type, base64}   sends a document or a voice message
 *   POST /users/{id}/callbacks {message_id, data}            presses a button; answers with what the bot said
 *   POST /users/{id}/pay {link | message_id}                 pays an invoice; answers {status, …}
 *   POST /users/{id} {first_name?, username?, language_code?, is_blocked?}
 */
export function registerUsers(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  const config = { emulator_route: 'page' as const }
  const post = (path: string, act: (user_id: number, body: Record<string, unknown>) => unknown) =>
    app.post<{ Params: { id: string } }>(path, { config }, async (request, reply) => {
      const user_id = Number(request.params.id)
      if (!Number.isSafeInteger(user_id) || user_id <= 0) return reply.code(400).send({ error: 'no user id' })
      return act(user_id, (request.body ?? {}) as Record<string, unknown>)
    })
  post('/users/:id', (user_id, body) => Object.assign(userOf(world, user_id), body))
  post('/users/:id/messages', (user_id, { text }) => {
    const message = addMessage(world, user_id, userOf(world, user_id), { text: String(text) })
    return { update_id: pushUpdate(world, 'message', message) }
  })
  post('/users/:id/files', (user_id, body) => sendFile(world, user_id, body))
  post('/users/:id/callbacks', async (user_id, { message_id, data }) =>
    pressButton(world, user_id, message_id, data),
  )
  post('/users/:id/pay', async (user_id, { link, message_id }) => {
    const invoice_id =
      link === undefined
        ? world.messages.get(String(message_id))?.['invoice_id']
        : String(link).split('/').at(-1)
    const invoice = world.invoices.get(String(invoice_id))
    return invoice ? pay(world, invoice, user_id) : { status: 'failed', reason: 'no such invoice' }
  })
  app.get<{ Params: { id: string } }>('/invoice/:id', { config }, async (request, reply) =>
    reply.headers(PAGE_HEADERS).send(invoicePage(world, request.params.id)),
  )
  app.post<{ Params: { id: string }; Body: { user_id?: string } }>(
    '/invoice/:id',
    { config },
    async (request, reply) => {
      const invoice = world.invoices.get(request.params.id)
      const user_id = Number(request.body?.user_id)
      if (!invoice || !Number.isSafeInteger(user_id) || user_id <= 0)
        return reply.code(400).send('no invoice or no user')
      const outcome = await pay(world, invoice, user_id)
      const words = outcome.status === 'paid' ? 'Оплачено' : `Не оплачено: ${outcome.reason}`
      return reply.headers(PAGE_HEADERS).send(invoicePage(world, request.params.id, words))
    },
  )
}

function sendFile(world: World, user_id: number, body: Record<string, unknown>): object {
  const { kind = 'document', name = 'file.bin', mime_type = 'application/octet-stream', base64 = '' } = body
  const bytes = Buffer.from(String(base64), 'base64')
  const id = `BQAD${world.kit.random.hex(24)}`
  const folder = kind === 'voice' ? 'voice' : 'documents'
  const path = `${folder}/file_${world.files.size}.${String(name).split('.').at(-1)}`
  world.files.add(id, { id, path, bytes })
  const facts = { file_id: id, file_unique_id: `u${id}`, mime_type, file_size: bytes.length }
  const content =
    kind === 'voice' ? { voice: { ...facts, duration: 1 } } : { document: { ...facts, file_name: name } }
  return {
    update_id: pushUpdate(world, 'message', addMessage(world, user_id, userOf(world, user_id), content)),
    file_id: id,
  }
}

/** Waits up to five seconds for the bot's answer: that is what the spinner of a button is. */
async function pressButton(
  world: World,
  user_id: number,
  message_id: unknown,
  data: unknown,
): Promise<object> {
  const held = world.messages.get(String(message_id))
  if (held?.chat.id !== user_id) return { error: 'no such message' }
  const { id: _, invoice_id: __, ...message } = held
  const id = world.kit.random.string(18, '0123456789')
  const query: { answered?: object } = {}
  world.callbacks.set(id, query)
  const from = wireUser(userOf(world, user_id))
  pushUpdate(world, 'callback_query', {
    id,
    from,
    message,
    chat_instance: String(user_id),
    data: String(data),
  })
  const until = performance.now() + 5000
  while (query.answered === undefined && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  world.callbacks.delete(id)
  return { answer: query.answered ?? null }
}

function invoicePage(world: World, id: string, words = ''): string {
  const invoice = world.invoices.get(id)
  const body = invoice
    ? `<h1>⭐️ ${invoice.amount}</h1><p>${escapeHtml(invoice.title)}<br>${escapeHtml(invoice.description)}</p>
${words === '' ? '' : `<p role="status">${escapeHtml(words)}</p>`}
<form method="post"><label>Telegram id
<input type="text" name="user_id" inputmode="numeric" value="777000111"></label>
<button class="main">Оплатить</button></form>`
    : '<h1>404</h1>'
  return renderPage({
    language: 'ru',
    title: 'Telegram',
    note: 'Эмулятор Telegram: звёзды не списываются.',
    body: body + wayBack(world.kit.settings().shop_url, 'Вернуться в магазин'),
  })
}
