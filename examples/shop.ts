/**
 * A whole shop on Kopilka's HTTP API, without a library: a shop window, the choice of a gateway, the balance,
 * the history, refunds. `npm run demo` starts it; against a running server:
 *
 *   node examples/shop.ts http://127.0.0.1:8080 sk_…
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { homePage, messagePage, orderPage, type CatalogItem, type Order, type Wallet } from './shop/pages.ts'

export interface ShopOptions {
  /** Where Kopilka answers, e.g. `http://127.0.0.1:8080`. */
  api_url: string
  secret_key: string
  /** Port to listen on; 0 or absent: any free one. */
  port?: number
  /** Gateways to offer, each with the currency it is paid in here. */
  gateways?: readonly ShopGateway[]
}

export interface ShopGateway {
  id: string
  currency: string
}

export interface Shop {
  base_url: string
  close: () => Promise<void>
}

/** The one visitor of this shop. A real one signs people in and knows them by an id of its own. */
const VISITOR = { external_id: 'visitor', telegram_id: '777000111', email: 'visitor@example.com' }
const CUSTOMER = `external_id:${VISITOR.external_id}`
const API_TIMEOUT_MS = 15_000

/** What Kopilka refused: its problem document, with words for people in `detail`. */
class Refused extends Error {
  readonly status: number
  constructor(status: number, problem: { title?: string; detail?: string }) {
    super(problem.detail ?? problem.title ?? `Kopilka answered ${status}`)
    this.status = status
  }
}

/** Starts the shop; close it when done. */
export async function startShop(options: ShopOptions): Promise<Shop> {
  const server = createServer((request, response) => {
    answer(options, request, addressOf(server)).then(
      ({ status, location, html }) => {
        const headers = { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }
        response.writeHead(status, location === undefined ? headers : { ...headers, location }).end(html)
      },
      (error: unknown) => {
        const text = error instanceof Error ? error.message : String(error)
        response.writeHead(error instanceof Refused ? error.status : 500, {
          'content-type': 'text/html; charset=utf-8',
        })
        response.end(messagePage('That did not work', text))
      },
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  return {
    base_url: addressOf(server),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

interface Answer {
  status: number
  html: string
  location?: string
}

async function answer(options: ShopOptions, request: IncomingMessage, own_url: string): Promise<Answer> {
  const { pathname } = new URL(request.url ?? '/', own_url)
  const [, place = '', id = '', action = ''] = pathname.split('/')
  if (request.method === 'GET' && place === '') return { status: 200, html: await home(options) }
  if (request.method === 'POST' && place === 'buy') {
    const form = await formOf(request)
    const order = await buy(options, form, own_url)
    return { status: 303, html: '', location: payAt(order) }
  }
  if (place === 'orders' && /^ord_\w+$/.test(id)) {
    if (request.method === 'POST' && action === 'refund') {
      await refund(options, id)
      return { status: 303, html: '', location: `/orders/${id}` }
    }
    const order = await call<Order>(options, 'GET', `/v1/orders/${id}`)
    return { status: 200, html: orderPage(order) }
  }
  return { status: 404, html: messagePage('Not found', 'There is no such page in this shop.') }
}

async function home(options: ShopOptions): Promise<string> {
  const catalog = await call<{ items: CatalogItem[] }>(options, 'GET', '/v1/catalog?locale=en')
  await customer(options)
  const wallet = await call<Wallet>(options, 'GET', `/v1/customers/${CUSTOMER}/wallets/minute`)
  const orders = await call<{ items: Order[] }>(options, 'GET', `/v1/orders?customer_id=${CUSTOMER}&limit=20`)
  return homePage({ items: catalog.items, gateways: options.gateways ?? [], wallet, orders: orders.items })
}

/** The visitor as a customer: made when the shop sees him first, found afterwards. */
async function customer(options: ShopOptions): Promise<void> {
  try {
    await call(options, 'GET', `/v1/customers/${CUSTOMER}`)
  } catch (error) {
    if (!(error instanceof Refused && error.status === 404)) throw error
    await call(options, 'POST', '/v1/customers', VISITOR, `customer:${VISITOR.external_id}`)
  }
}

/** Places an order and answers with it; its payment says where the buyer pays. */
async function buy(options: ShopOptions, form: URLSearchParams, own_url: string): Promise<Order> {
  const gateway = form.get('gateway') ?? ''
  const price_id = form.get(`price:${gateway}`) ?? ''
  const order = await call<Order>(
    options,
    'POST',
    '/v1/orders',
    {
      customer_id: CUSTOMER,
      lines: [{ price_id, quantity: 1 }],
      gateway,
      return_url: `${own_url}/`,
      receipt_contact: { email: VISITOR.email },
    },
    // The form has a key of its own: a button pressed twice is one order.
    form.get('key') ?? randomUUID(),
  )
  return order
}

/** Where the buyer goes. An app that buys in its store is told what; a real one knows its own products. */
function payAt(order: Order): string {
  const { payment } = order
  if (!payment?.checkout_url) return `/orders/${order.id}`
  const url = new URL(payment.checkout_url)
  if (payment.gateway === 'rustore') url.searchParams.set('amount', String(order.total))
  return url.href
}

/** Asks for the money back. A refusal of the vendor is told; a refund on its way is seen on the order. */
async function refund(options: ShopOptions, order_id: string): Promise<void> {
  const order = await call<Order>(options, 'GET', `/v1/orders/${order_id}`)
  if (!order.payment) throw new Refused(409, { detail: 'This order has no payment.' })
  const body = { reason: 'asked for in the shop' }
  const asked = await call<{ status: string; failure_reason: string | null }>(
    options,
    'POST',
    `/v1/payments/${order.payment.id}/refunds`,
    body,
    `refund:${order_id}`,
  )
  if (asked.status === 'failed') {
    const reason = asked.failure_reason ?? 'no reason'
    throw new Refused(409, { detail: `The gateway refused the refund: ${reason}.` })
  }
}

async function call<T>(
  { api_url, secret_key }: ShopOptions,
  method: 'GET' | 'POST',
  path: string,
  body?: object,
  idempotency_key?: string,
): Promise<T> {
  const response = await fetch(new URL(path, api_url), {
    method,
    headers: {
      authorization: `Bearer ${secret_key}`,
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...(idempotency_key === undefined ? {} : { 'idempotency-key': idempotency_key }),
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
    signal: AbortSignal.timeout(API_TIMEOUT_MS),
  })
  const answered: unknown = await response.json()
  if (!response.ok) throw new Refused(response.status, answered as { title?: string; detail?: string })
  return answered as T
}

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > 10_000) throw new Refused(413, { detail: 'The form is too large.' })
  }
  return new URLSearchParams(text)
}

function addressOf(server: Server): string {
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
}

if (import.meta.main) {
  const [api_url = 'http://127.0.0.1:8080', secret_key = ''] = process.argv.slice(2)
  const shop = await startShop({
    api_url,
    secret_key,
    port: 8090,
    gateways: [{ id: 'sandbox', currency: 'RUB' }],
  })
  process.stdout.write(`The shop is at ${shop.base_url}\n`)
}
