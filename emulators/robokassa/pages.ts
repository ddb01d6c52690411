import type { FastifyInstance, FastifyReply } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage } from '../kit/html.ts'
import { hashOf, kopecks, PageError, roubles, setState, shpOf } from './objects.ts'
import type { Form, Payment, World } from './objects.ts'

const NOTE = 'Эмулятор Robokassa: деньги не списываются.'

/**
 * The classic interface: the buyer brings the shop's fields by a link or a form and meets the payment page.
 * A page of an error has the vendor's number in it. POST to the page: action = pay | decline.
 */
export function registerPages(app: FastifyInstance, world: World): void {
  const config = { emulator_route: 'page' as const }
  const open = (reply: FastifyReply, form: unknown) => {
    try {
      return showPayment(reply, openPayment(world, formOf(form)))
    } catch (error) {
      if (error instanceof PageError) return showError(reply, error)
      throw error
    }
  }
  app.get('/Merchant/Index.aspx', { config }, async (request, reply) => open(reply, request.query))
  app.post('/Merchant/Index.aspx', { config }, async (request, reply) => open(reply, request.body))
  app.get<{ Params: { id: string } }>('/Merchant/Index/:id', { config }, async (request, reply) => {
    const payment = world.payments.get(request.params.id)
    return payment ? showPayment(reply, payment) : showError(reply, new PageError(404, 'нет такого платежа'))
  })
  app.post<{ Params: { id: string } }>('/Merchant/Index/:id', { config }, async (request, reply) => {
    const payment = world.payments.get(request.params.id)
    if (!payment) return showError(reply, new PageError(404, 'нет такого платежа'))
    const { action } = formOf(request.body)
    if (payment.state === 5) setState(world, payment, action === 'pay' ? (payment.is_hold ? 20 : 100) : 10)
    return goBack(world, reply, payment)
  })
  app.get('/jwtsign.cer', { config }, async (_request, reply) =>
    reply.type('application/x-pem-file').send(world.key().public_key),
  )
}

/** Checks what the buyer brought and finds or makes the payment of this number. Throws {@link PageError}. */
export function openPayment(world: World, form: Form): Payment {
  const { merchant_login, password1, test_password1, is_recurring_enabled } = world.kit.settings()
  const is_test = form['IsTest'] === '1'
  const shp = shpOf(form)
  const signed = [
    'Receipt',
    'StepByStep',
    'ResultUrl2',
    'SuccessUrl2',
    'SuccessUrl2Method',
    'FailUrl2',
    'FailUrl2Method',
    'Token',
  ]
  const parts = ['MerchantLogin', 'OutSum'].map((name) => form[name] ?? '')
  const password = is_test ? test_password1 : password1
  const base = [...parts, form['InvId'] ?? '', ...signed.map((name) => form[name]), password]
  if (form['MerchantLogin'] !== merchant_login) throw new PageError(26, 'магазин не найден')
  if (form['SignatureValue']?.toLowerCase() !== hashOf(world, base, shp)) {
    throw new PageError(29, 'неверный параметр SignatureValue')
  }
  const amount = kopecks(form['OutSum'])
  if (amount === undefined || amount === 0) throw new PageError(31, 'неверная сумма')
  const inv_id = form['InvId'] ?? ''
  if (!/^[1-9]\d{0,18}$/.test(inv_id)) throw new PageError(30, 'неверный InvId')
  if (form['Recurring'] === 'true') {
    if (!is_recurring_enabled) throw new PageError(34, 'рекуррентные платежи не подключены')
    if (form['IncCurrLabel'] !== undefined || form['ExpirationDate'] !== undefined) {
      throw new PageError(35, 'неверные параметры рекуррентного платежа')
    }
  }
  if ((form['Description'] ?? '').length > 100) throw new PageError(35, 'слишком длинное описание')
  if (form['StepByStep'] === 'true' && form['ResultUrl2'] === undefined)
    throw new PageError(35, 'нет ResultUrl2')
  const expires_at = form['ExpirationDate']
  if (expires_at !== undefined && !(new Date(expires_at) > world.kit.now()))
    throw new PageError(33, 'срок истёк')
  const known = world.payments.get(inv_id)
  if (known) {
    if (known.state !== 5 || known.amount !== amount) throw new PageError(40, 'счёт уже оплачен')
    return known
  }
  return addPayment(world, {
    inv_id,
    amount,
    is_test,
    is_hold: form['StepByStep'] === 'true',
    is_recurring: form['Recurring'] === 'true',
    description: form['Description'] ?? '',
    email: form['Email'] ?? '',
    result_url2: form['ResultUrl2'] ?? '',
    success_url: form['SuccessUrl2'] ?? '',
    fail_url: form['FailUrl2'] ?? '',
    shp,
    ...(expires_at === undefined ? {} : { expires_at }),
    ...(form['Receipt'] === undefined ? {} : { receipt: readReceipt(form['Receipt'], amount) }),
  })
}

/** Makes a payment nobody has paid. */
export function addPayment(
  world: World,
  given: Omit<Payment, 'id' | 'op_key' | 'state' | 'state_at' | 'refunded'>,
): Payment {
  const payment: Payment = {
    ...given,
    id: given.inv_id,
    op_key: world.kit.random.uuid().toUpperCase(),
    state: 5,
    state_at: world.kit.now().toISOString(),
    refunded: 0,
  }
  world.payments.add(payment.id, payment)
  return payment
}

/** The receipt of a form: JSON encoded once, its lines adding up to the sum. Throws {@link PageError}. */
export function readReceipt(text: string, amount: number): unknown {
  let receipt: { items?: unknown } | undefined
  try {
    receipt = JSON.parse(decodeURIComponent(text)) as { items?: unknown }
  } catch {
    throw new PageError(35, 'чек не читается')
  }
  const items = Array.isArray(receipt.items) ? (receipt.items as Record<string, unknown>[]) : []
  const total = items.reduce((sum, item) => sum + (kopecks(String(item['sum'])) ?? Number.NaN), 0)
  const is_complete = items.every((item) =>
    ['name', 'quantity', 'tax', 'payment_method', 'payment_object'].every((name) => item[name] !== undefined),
  )
  if (items.length === 0 || items.length > 100 || total !== amount || !is_complete) {
    throw new PageError(35, 'чек не сходится с суммой')
  }
  return receipt
}

/** A form's or a query's single values. */
export function formOf(fields: unknown): Form {
  if (typeof fields !== 'object' || fields === null) return {}
  return Object.fromEntries(
    Object.entries(fields).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}

function showPayment(reply: FastifyReply, payment: Payment): FastifyReply {
  const head = `<h1>${roubles(payment.amount)} ₽</h1><p>${escapeHtml(payment.description)}</p>`
  const action = `/Merchant/Index/${payment.id}`
  const body =
    payment.state === 5
      ? `${head}<form method="post" action="${action}">
<button class="main" name="action" value="pay">Оплатить</button></form>
<form method="post" action="${action}"><button name="action" value="decline">Отказаться</button></form>`
      : `${head}<p role="status">Состояние: ${payment.state}</p>`
  return send(reply, 200, payment.description, body)
}

/** The browser goes to the shop with a signature of the first password; nothing may be believed of it. */
function goBack(world: World, reply: FastifyReply, payment: Payment): FastifyReply {
  const is_paid = payment.state === 100 || payment.state === 20
  const address = is_paid ? payment.success_url : payment.fail_url
  if (!URL.canParse(address)) return showPayment(reply, payment)
  const { password1, test_password1 } = world.kit.settings()
  const sum = roubles(payment.amount)
  const password = payment.is_test ? test_password1 : password1
  const url = new URL(address)
  const fields = { OutSum: sum, InvId: payment.inv_id, Culture: 'ru', ...payment.shp }
  for (const [name, value] of Object.entries(fields)) url.searchParams.set(name, value)
  if (is_paid) {
    url.searchParams.set('SignatureValue', hashOf(world, [sum, payment.inv_id, password], payment.shp))
  }
  return reply.redirect(url.href, 303)
}

function showError(reply: FastifyReply, error: PageError): FastifyReply {
  return send(
    reply,
    400,
    `Ошибка ${error.code}`,
    `<h1>Ошибка ${error.code}</h1><p>${escapeHtml(error.message)}</p>`,
  )
}

function send(reply: FastifyReply, status: number, title: string, body: string): FastifyReply {
  return reply
    .code(status)
    .headers(PAGE_HEADERS)
    .send(renderPage({ language: 'ru', title, note: NOTE, body }))
}
