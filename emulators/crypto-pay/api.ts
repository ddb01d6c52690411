import { timingSafeEqual } from 'node:crypto'
import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { escapeHtml, PAGE_HEADERS, renderPage } from '../kit/html.ts'
import { createInvoice, deleteInvoice, getInvoices, getTransfers, pay, transfer } from './invoices.ts'
import type { Parameters } from './invoices.ts'
import { ASSETS, FIATS, VendorError } from './objects.ts'
import type { Invoice, World } from './objects.ts'

type Method = (world: World, parameters: Parameters) => unknown

/** Methods that only read are spared by faults of operations, though they may be POSTed too. */
const READS: Readonly<Record<string, Method>> = {
  getMe: () => ({ app_id: 1, name: 'Emulated shop', payment_processing_bot_username: 'CryptoTestnetBot' }),
  getInvoices,
  getTransfers,
  getBalance: () => ASSETS.map((currency_code) => ({ currency_code, available: '1000', onhold: '0' })),
  getCurrencies: () => [
    ...ASSETS.map((code) => ({ is_blockchain: true, is_stablecoin: false, is_fiat: false, code })),
    ...FIATS.map((code) => ({ is_blockchain: false, is_stablecoin: false, is_fiat: true, code })),
  ],
}
const ACTS: Readonly<Record<string, Method>> = { createInvoice, deleteInvoice, transfer }

/** Registers `/api/<method>`: GET with a query, POST with JSON or a form. */
export function registerApi(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  app.setErrorHandler((error: unknown, _request, reply) => sendError(reply, toVendorError(error)))
  app.setNotFoundHandler((_request, reply) => sendError(reply, new VendorError(404, 'METHOD_NOT_FOUND')))
  app.addHook('onRequest', (request, _reply, done) => {
    const given = Buffer.from(String(request.headers['crypto-pay-api-token'] ?? ''))
    const expected = Buffer.from(world.kit.settings().token)
    const is_known = given.length === expected.length && timingSafeEqual(given, expected)
    done(is_known ? undefined : new VendorError(401, 'UNAUTHORIZED'))
  })
  const add = (name: string, method: Method, is_operation: boolean) => {
    app.route({
      method: ['GET', 'POST'],
      url: `/${name}`,
      config: { is_operation },
      handler: async (request) => {
        const parameters = { ...record(request.query), ...record(request.body) }
        return { ok: true, result: structuredClone(method(world, parameters)) }
      },
    })
  }
  for (const [name, method] of Object.entries(READS)) add(name, method, false)
  for (const [name, method] of Object.entries(ACTS)) add(name, method, true)
}

/** The buyer's page: POST `action` = pay | leave. */
export function registerPage(app: FastifyInstance, world: World): void {
  void app.register(formbody)
  const config = { emulator_route: 'page' as const }
  const find = (hash: string) => [...world.invoices.values()].find((invoice) => invoice.hash === hash)
  app.get<{ Params: { hash: string } }>('/pay/:hash', { config }, async (request, reply) =>
    show(reply, find(request.params.hash)),
  )
  app.post<{ Params: { hash: string } }>('/pay/:hash', { config }, async (request, reply) => {
    const invoice = find(request.params.hash)
    if (invoice?.status === 'active' && record(request.body)['action'] === 'pay') pay(world, invoice)
    const address = invoice?.paid_btn_url
    return address === undefined ? show(reply, invoice) : reply.redirect(address, 303)
  })
}

function show(reply: FastifyReply, invoice: Invoice | undefined): FastifyReply {
  const note = 'Crypto Pay emulator: no real money here.'
  const sum = invoice ? `${invoice.amount} ${invoice.fiat ?? invoice.asset ?? ''}` : '404'
  const form = `<form method="post"><button class="main" name="action" value="pay">Pay</button></form>
<form method="post"><button name="action" value="leave">Leave without paying</button></form>`
  const state = `<p role="status">${invoice?.status ?? 'There is no such invoice'}</p>`
  const body = `<h1>${escapeHtml(sum)}</h1><p>${escapeHtml(invoice?.description ?? '')}</p>
${invoice?.status === 'active' ? form : state}`
  const page = renderPage({ language: 'en', title: sum, note, body })
  return reply
    .code(invoice ? 200 : 404)
    .headers(PAGE_HEADERS)
    .send(page)
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function toVendorError(error: unknown): VendorError {
  if (error instanceof VendorError) return error
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? error.statusCode : 500
  if (typeof status === 'number' && status < 500) return new VendorError(400, 'BAD_REQUEST')
  process.stderr.write(
    `crypto-pay emulator: ${error instanceof Error ? (error.stack ?? '') : String(error)}\n`,
  )
  return new VendorError(500, 'APP_ERROR')
}

function sendError(reply: FastifyReply, error: VendorError): FastifyReply {
  return reply.code(error.code).send(errorBody(error))
}

/** `{ok: false, error: {code, name}}`. */
export function errorBody(error: VendorError): object {
  return { ok: false, error: { code: error.code, name: error.word } }
}
