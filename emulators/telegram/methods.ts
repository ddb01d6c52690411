import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Problem } from '../kit/openapi.ts'
import { requirePublished } from '../kit/published.ts'
import { addMessage, botUser, BotError, seconds, userOf } from './objects.ts'
import type { World } from './objects.ts'
import { addInvoice, refund, transactions } from './payments.ts'

type Body = Record<string, unknown>
type Method = (world: World, body: Body) => unknown

const BURST = 5
const POLL_MAX_SECONDS = 50

/** `/bot<token>/<method>`, in the test environment `/bot<token>/test/<method>`; and the files. */
export function registerMethods(app: FastifyInstance, world: World): void {
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, body === '' ? {} : JSON.parse(String(body)))
    } catch {
      done(null, undefined)
    }
  })
  app.setErrorHandler((error: unknown, _request, reply) => {
    if (!(error instanceof BotError)) throw error
    const { code: error_code, message: description, retry_after } = error
    if (retry_after !== undefined) void reply.header('retry-after', String(retry_after))
    const parameters = retry_after === undefined ? {} : { parameters: { retry_after } }
    return reply.code(error_code).send({ ok: false, error_code, description, ...parameters })
  })
  app.setNotFoundHandler(() => {
    throw new BotError(404, 'Not Found')
  })
  const run = async (request: FastifyRequest, name: string, is_test: boolean) => {
    const { token } = request.params as { token: string }
    const { bot_token, is_test_environment } = world.kit.settings()
    if (token !== bot_token || is_test !== is_test_environment) throw new BotError(401, 'Unauthorized')
    const body = { ...(request.query as Body), ...((request.body ?? {}) as Body) }
    return { ok: true, result: await callMethod(world, name, body) }
  }
  requirePublished(app, {
    specs: [world.spec],
    // A method is a path of the description; it may be called by either verb, with its values anywhere.
    methodOf: () => 'POST',
    pathOf: ({ url }) => (url.startsWith('/file/') ? '/file' : `/${url.split('?', 1)[0]?.split('/').at(-1)}`),
    unpublished: ['/file'],
    queryOf: () => ({}),
    bodyOf: ({ query, body }) => ({ ...(query as Body), ...((body ?? {}) as Body) }),
    refuse: refuseFirst,
  })
  for (const name of Object.keys(METHODS)) {
    // All methods may be posted; those called get… only read.
    const config = { is_operation: !name.startsWith('get') }
    for (const method of ['GET', 'POST']) {
      const add = (url: string, is_test: boolean) =>
        app.route({ method, url, config, handler: async (request) => run(request, name, is_test) })
      add(`/bot:token/test/${name}`, true)
      add(`/bot:token/${name}`, false)
    }
  }
  app.get('/file/bot:token/*', async (request, reply) => {
    const { token, '*': path } = request.params as { token: string; '*': string }
    const file = [...world.files.values()].find((one) => one.path === path)
    if (token !== world.kit.settings().bot_token || !file) throw new BotError(404, 'Not Found')
    return reply.type('application/octet-stream').send(file.bytes)
  })
}

function refuseFirst([problem]: readonly Problem[]): void {
  if (problem) throw new BotError(400, `Bad Request: ${problem.parameter || 'the request'} ${problem.detail}`)
}

/** Checks a call against the published shapes and plays it. Throws {@link BotError}. */
export async function callMethod(world: World, name: string, body: Body): Promise<unknown> {
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined
  if (!method) throw new BotError(404, 'Not Found')
  refuseFirst(world.spec.checkBody('POST', `/${name}`, body))
  return method(world, body)
}

const METHODS: Readonly<Record<string, Method>> = {
  getMe: (world) => ({
    ...botUser(world),
    can_join_groups: true,
    can_read_all_group_messages: false,
    supports_inline_queries: false,
  }),
  getUpdates,
  setWebhook(world, { url, secret_token = '', allowed_updates }) {
    world.webhook = {
      url: String(url),
      secret_token: String(secret_token),
      allowed_updates: allowed_updates as string[] | undefined,
    }
    return true
  },
  deleteWebhook(world) {
    world.webhook = { url: '', secret_token: '', allowed_updates: undefined }
    world.kit.changeSettings({ webhook_url: '' })
    return true
  },
  getWebhookInfo(world) {
    const url = world.webhook.url || world.kit.settings().webhook_url
    const { allowed_updates } = world.webhook
    const counts = { pending_update_count: world.queue.length, has_custom_certificate: false }
    return { url, ...counts, ...(allowed_updates ? { allowed_updates } : {}) }
  },
  sendMessage: (world, { chat_id, text, reply_markup }) =>
    send(world, chat_id, { text, ...markup(reply_markup) }),
  sendPhoto: (world, { chat_id, photo, caption }) =>
    send(world, chat_id, { photo: [fileOf(world, photo)], ...text(caption) }),
  sendDocument: (world, { chat_id, document, caption }) =>
    send(world, chat_id, { document: fileOf(world, document), ...text(caption) }),
  sendChatAction(world, { chat_id }) {
    chatOf(world, chat_id)
    return true
  },
  editMessageText(world, { chat_id, message_id, text: words, reply_markup }) {
    const message = messageOf(world, chat_id, message_id)
    if (message['text'] === words) throw new BotError(400, 'Bad Request: message is not modified')
    Object.assign(message, { text: words, edit_date: seconds(world), ...markup(reply_markup) })
    const { id: _, ...wire } = message
    return wire
  },
  deleteMessage(world, { chat_id, message_id }) {
    return world.messages.delete(messageOf(world, chat_id, message_id).id)
  },
  answerCallbackQuery(world, body) {
    const query = world.callbacks.get(String(body['callback_query_id']))
    if (!query)
      throw new BotError(
        400,
        'Bad Request: query is too old and response timeout expired or query ID is invalid',
      )
    query.answered = body
    return true
  },
  setMyCommands: () => true,
  getFile(world, { file_id }) {
    const file = world.files.get(String(file_id))
    if (!file) throw new BotError(400, 'Bad Request: invalid file_id')
    if (file.bytes.length > 20 * 1024 * 1024) throw new BotError(400, 'Bad Request: file is too big')
    return {
      file_id: file.id,
      file_unique_id: `u${file.id}`,
      file_size: file.bytes.length,
      file_path: file.path,
    }
  },
  sendInvoice(world, body) {
    chatOf(world, body['chat_id'])
    const invoice = addInvoice(world, body, false)
    const { title, description, amount: total_amount } = invoice
    const shown = { title, description, start_parameter: '', currency: 'XTR', total_amount }
    const pay = { text: `Pay ⭐️${total_amount}`, pay: true }
    const message = send(world, body['chat_id'], {
      invoice: shown,
      reply_markup: { inline_keyboard: [[pay]] },
    })
    Object.assign(world.messages.get(String(message.message_id)) ?? {}, { invoice_id: invoice.id })
    return message
  },
  createInvoiceLink: (world, body) => `${world.kit.base_url()}/invoice/${addInvoice(world, body, true).id}`,
  answerPreCheckoutQuery(world, { pre_checkout_query_id, ok, error_message }) {
    const answer = world.questions.get(String(pre_checkout_query_id))
    if (!answer)
      throw new BotError(
        400,
        'Bad Request: query is too old and response timeout expired or query ID is invalid',
      )
    if (ok !== true && error_message === undefined)
      throw new BotError(400, 'Bad Request: error message is empty')
    answer({
      ok: ok === true,
      ...(error_message === undefined ? {} : { error_message: String(error_message) }),
    })
    return true
  },
  refundStarPayment: (world, { user_id, telegram_payment_charge_id }) =>
    refund(world, Number(user_id), String(telegram_payment_charge_id)),
  editUserStarSubscription(world, { user_id, telegram_payment_charge_id, is_canceled }) {
    const payment = world.payments.get(String(telegram_payment_charge_id))
    if (payment?.user_id !== user_id || payment?.expires === undefined) {
      throw new BotError(400, 'Bad Request: CHARGE_NOT_FOUND')
    }
    // The subscription is of the first payment; the newest one carries the renewal.
    for (const one of world.payments.values()) {
      if (one.invoice_id === payment.invoice_id && one.user_id === user_id)
        one.is_canceled = is_canceled === true
    }
    return true
  },
  getStarTransactions(world, { offset = 0, limit = 100 }) {
    return { transactions: transactions(world, Number(offset), Math.min(100, Number(limit))) }
  },
  getMyStarBalance: (world) => ({
    amount: world.ledger.reduce((sum, line) => sum + (line.is_refund ? -1 : 1) * line.payment.amount, 0),
  }),
}

async function getUpdates(world: World, { offset = 0, limit = 100, timeout = 0 }: Body): Promise<unknown> {
  if (world.webhook.url !== '' || world.kit.settings().webhook_url !== '') {
    throw new BotError(
      409,
      "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook",
    )
  }
  world.queue = world.queue.filter(({ update_id }) => update_id >= Number(offset))
  if (world.queue.length === 0 && Number(timeout) > 0) {
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        world.waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, Math.min(POLL_MAX_SECONDS, Number(timeout)) * 1000)
      timer.unref()
      world.waiting.add(wake)
    })
  }
  return world.queue.slice(0, Math.min(100, Number(limit))).map((update) => ({ ...update, at_ms: undefined }))
}

function send(world: World, chat_id: unknown, content: object) {
  const id = chatOf(world, chat_id)
  throttle(world, 'all', world.kit.settings().messages_per_second)
  throttle(world, String(id), world.kit.settings().messages_per_chat_second)
  return addMessage(world, id, botUser(world), content)
}

/** Throws 403 for who has blocked the bot, 400 for nobody. */
function chatOf(world: World, chat_id: unknown): number {
  const id = Number(chat_id)
  if (!Number.isSafeInteger(id) || id <= 0) throw new BotError(400, 'Bad Request: chat not found')
  if (userOf(world, id).is_blocked === true) throw new BotError(403, 'Forbidden: bot was blocked by the user')
  return id
}

/** Flood control: a small burst, then so many a second; 0 is no limit. */
function throttle(world: World, key: string, per_second: number): void {
  if (per_second === 0) return
  const now_ms = world.kit.now().getTime()
  const capacity = Math.max(BURST, per_second)
  const bucket = world.buckets.get(key) ?? { tokens: capacity, at_ms: now_ms }
  const tokens = Math.min(capacity, bucket.tokens + ((now_ms - bucket.at_ms) / 1000) * per_second)
  world.buckets.set(key, { tokens: Math.max(0, tokens - 1), at_ms: now_ms })
  if (tokens >= 1) return
  const retry_after = Math.max(1, Math.ceil((1 - tokens) / per_second))
  throw new BotError(429, `Too Many Requests: retry after ${retry_after}`, retry_after)
}

function messageOf(world: World, chat_id: unknown, message_id: unknown) {
  const message = world.messages.get(String(message_id))
  if (message?.chat.id !== Number(chat_id)) throw new BotError(400, 'Bad Request: message not found')
  return message
}

function fileOf(world: World, given: unknown): object {
  const file = world.files.get(String(given))
  if (!file) throw new BotError(400, 'Bad Request: wrong file identifier/HTTP URL specified')
  return { file_id: file.id, file_unique_id: `u${file.id}`, file_size: file.bytes.length }
}

function markup(reply_markup: unknown): object {
  return reply_markup === undefined ? {} : { reply_markup }
}

function text(caption: unknown): object {
  return caption === undefined ? {} : { caption }
}
