import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { escapeHtml } from '../kit/html.ts'
import { feeOf, hashOf, kopecks, openJwt, PageError, roubles, setState, shpOf } from './objects.ts'
import type { Form, Payment, Refund, World } from './objects.ts'
import { addPayment, formOf, openPayment, readReceipt } from './pages.ts'

/** The calls from server to server: state, recurring charges, ends of holds, refunds, second receipts. */
export function registerServices(app: FastifyInstance, world: World): void {
  const asText = (act: (form: Form) => string) => async (request: { body: unknown }) => {
    try {
      return act(formOf(request.body))
    } catch (error) {
      if (error instanceof PageError) return `ERROR ${error.code}: ${error.message}`
      throw error
    }
  }
  app.get('/Merchant/WebService/Service.asmx/OpStateExt', async (request, reply) =>
    reply.type('text/xml; charset=utf-8').send(operationState(world, formOf(request.query))),
  )
  app.post('/Merchant/Indexjson.aspx', async (request, reply) => {
    try {
      return { invoiceID: openPayment(world, formOf(request.body)).id }
    } catch (error) {
      if (error instanceof PageError)
        return reply.send({ error: { code: error.code, message: error.message } })
      throw error
    }
  })
  app.post(
    '/Merchant/Recurring',
    asText((form) => chargeAgain(world, form)),
  )
  app.post(
    '/Merchant/Payment/Confirm',
    asText((form) => endHold(world, form, 'confirm')),
  )
  app.post(
    '/Merchant/Payment/Cancel',
    asText((form) => endHold(world, form, 'cancel')),
  )
  registerRefunds(app, world)
  registerReceipts(app, world)
}

function operationState(world: World, form: Form): string {
  const { merchant_login, password2 } = world.kit.settings()
  const { MerchantLogin: login = '', InvoiceID: number = '' } = form
  const state = (code: number, inner = '') =>
    `<?xml version="1.0" encoding="utf-8"?>
<OperationStateResponse xmlns="http://merchant.roboxchange.com/WebService/">
<Result><Code>${code}</Code></Result>${inner}</OperationStateResponse>`
  if (login !== merchant_login) return state(2)
  if (form['Signature']?.toLowerCase() !== hashOf(world, [login, number, password2])) return state(1)
  const payment = world.payments.get(number)
  // Payments of the test mode are not known to this service.
  if (!payment || payment.is_test) return state(3)
  const paid = payment.state === 100 || payment.state === 20 ? payment.amount : 0
  const fields = Object.entries(payment.shp).map(
    ([name, value]) => `<Field><Name>${escapeHtml(name)}</Name><Value>${escapeHtml(value)}</Value></Field>`,
  )
  const moment = (date: string) => date.replace('Z', '0000+00:00')
  return state(
    0,
    `<State><Code>${payment.state}</Code>
<RequestDate>${moment(world.kit.now().toISOString())}</RequestDate>
<StateDate>${moment(payment.state_at)}</StateDate></State>
<Info><IncCurrLabel>BankCard</IncCurrLabel><IncSum>${roubles(paid)}</IncSum>
<IncAccount>220000******0001</IncAccount>
<PaymentMethod><Code>BankCard</Code></PaymentMethod><OutCurrLabel>RUB</OutCurrLabel>
<OutSum>${roubles(paid === 0 ? 0 : paid - feeOf(world, payment))}</OutSum>
<OpKey>${payment.op_key}</OpKey></Info>
<UserField>${fields.join('')}</UserField>`,
  )
}

/** A child of a recurring parent. `OK…` means accepted; the notification says that it was paid. */
function chargeAgain(world: World, form: Form): string {
  const { password1, is_recurring_enabled } = world.kit.settings()
  const { InvoiceID: inv_id = '', PreviousInvoiceID: previous = '' } = form
  checkShop(world, form, [form['OutSum'] ?? '', inv_id, form['Receipt'], password1], shpOf(form))
  const parent = world.payments.get(previous)
  const amount = kopecks(form['OutSum'])
  if (!is_recurring_enabled) throw new PageError(34, 'рекуррентные платежи не подключены')
  if (!parent?.is_recurring || parent.state !== 100) throw new PageError(35, 'нет родительского платежа')
  if (amount === undefined || amount === 0) throw new PageError(31, 'неверная сумма')
  if (world.payments.get(inv_id) || !/^[1-9]\d{0,18}$/.test(inv_id))
    throw new PageError(40, 'InvId уже использован')
  const child = addPayment(world, {
    inv_id,
    amount,
    is_test: parent.is_test,
    is_hold: false,
    is_recurring: false,
    description: form['Description'] ?? '',
    email: parent.email,
    result_url2: '',
    success_url: '',
    fail_url: '',
    shp: shpOf(form),
    parent: previous,
    ...(form['Receipt'] === undefined ? {} : { receipt: readReceipt(form['Receipt'], amount) }),
  })
  setState(world, child, 100)
  return `OK${inv_id}`
}

function endHold(world: World, form: Form, kind: 'confirm' | 'cancel'): string {
  const { password1 } = world.kit.settings()
  const inv_id = form['InvoiceID'] ?? ''
  checkShop(world, form, [
    kind === 'confirm' ? (form['OutSum'] ?? '') : '',
    inv_id,
    form['Receipt'],
    password1,
  ])
  const payment = world.payments.get(inv_id)
  if (payment?.state !== 20) throw new PageError(41, 'нет удержания')
  if (kind === 'cancel') {
    setState(world, payment, 10)
    return 'true'
  }
  const amount = kopecks(form['OutSum'])
  if (amount === undefined || amount === 0 || amount > payment.amount)
    throw new PageError(31, 'неверная сумма')
  payment.amount = amount
  setState(world, payment, 100)
  return 'true'
}

function registerRefunds(app: FastifyInstance, world: World): void {
  app.post('/RefundService/Refund/Create', async (request, reply) => {
    const { password3, is_refund_api_enabled } = world.kit.settings()
    const body = typeof request.body === 'string' ? request.body.replaceAll(/^"|"$/g, '') : ''
    const payload = openJwt(body, password3)
    if (!payload || !is_refund_api_enabled) {
      const message = 'Signature key is not exists or partner have not access to API'
      return reply.code(401).send({ success: false, requestId: null, message })
    }
    const refused = (message: string) => reply.code(400).send({ success: false, requestId: null, message })
    const payment = [...world.payments.values()].find(({ op_key }) => op_key === payload['OpKey'])
    if (payment?.state !== 100) return refused('OperationNotFound')
    const left = payment.amount - payment.refunded
    if (left === 0) return refused('AlreadyRefunded')
    const asked = payload['RefundSum'] === undefined ? payment.amount : kopecks(String(payload['RefundSum']))
    if (asked === undefined || asked === 0 || asked > left) return refused('NotEnoughOperationFunds')
    return {
      success: true,
      requestId: addRefund(world, payment, asked, payload['InvoiceItems']).id,
      message: null,
    }
  })
  app.get<{ Querystring: { id?: string } }>('/RefundService/Refund/GetState', async (request) => {
    const refund = world.refunds.get(request.query.id ?? '')
    if (!refund) return { message: 'Request not found' }
    return { requestId: refund.id, amount: refund.amount / 100, label: refund.label }
  })
}

function addRefund(world: World, payment: Payment, amount: number, items: unknown): Refund {
  const label = world.kit.settings().refund_outcome
  const refund: Refund = { id: world.kit.random.uuid(), op_key: payment.op_key, amount, label }
  if (items !== undefined) refund.items = items
  if (label !== 'canceled') payment.refunded += amount
  world.refunds.add(refund.id, refund)
  return refund
}

function registerReceipts(app: FastifyInstance, world: World): void {
  const read = (body: unknown): Record<string, unknown> | undefined => {
    const { password1, hash } = world.kit.settings()
    const [head = '', tail = ''] = typeof body === 'string' ? body.split('.') : []
    const digest = createHash(hash)
      .update(head + password1)
      .digest('hex')
    if (Buffer.from(tail, 'base64url').toString() !== digest) return undefined
    return JSON.parse(Buffer.from(head, 'base64url').toString()) as Record<string, unknown>
  }
  app.post('/RoboFiscal/Receipt/Attach', async (request) => {
    const payload = read(request.body)
    const origin_id = String(payload?.['originId'])
    const id = String(payload?.['id'])
    const payment = world.payments.get(origin_id)
    if (!payload || payment?.state !== 100 || id === origin_id)
      return { ResultCode: 3, ResultDescription: 'error' }
    const earlier = [...world.receipts.values()].filter((receipt) => receipt.origin_id === origin_id)
    if (earlier.some((receipt) => receipt.id === id)) return { ResultCode: 0 }
    if (earlier.length >= 2) return { ResultCode: 3, ResultDescription: 'too many receipts' }
    world.receipts.add(id, { id, origin_id, payload })
    return { ResultCode: 0 }
  })
  app.post('/RoboFiscal/Receipt/Status', { config: { is_operation: false } }, async (request) => {
    const receipt = world.receipts.get(String(read(request.body)?.['id']))
    if (!receipt) return { Code: 3, Description: 'none' }
    const code = world.kit.settings().receipt_code
    if (code !== 2) return { Code: code, Description: code < 2 ? 'waiting' : 'error' }
    return {
      Code: 2,
      Description: 'registered',
      FnNumber: '9287440300090728',
      FiscalDocumentNumber: receipt.id.slice(0, 9),
      FiscalDocumentAttribute: '3133458701',
      FiscalDate: world.kit.now().toISOString(),
      FiscalType: 'sell',
    }
  })
}

function checkShop(
  world: World,
  form: Form,
  parts: readonly (string | undefined)[],
  shp: Readonly<Record<string, string>> = {},
): void {
  const login = form['MerchantLogin'] ?? ''
  if (login !== world.kit.settings().merchant_login) throw new PageError(26, 'магазин не найден')
  if (form['SignatureValue']?.toLowerCase() !== hashOf(world, [login, ...parts], shp)) {
    throw new PageError(29, 'неверный параметр SignatureValue')
  }
}
