import type { FastifyInstance } from 'fastify'
import { PAGE_HEADERS, escapeHtml, renderPage, wayBack } from '../kit/html.ts'

const FIELDS = ['payment_id', 'order_id', 'amount', 'product_code'] as const
type Opened = Partial<Record<(typeof FIELDS)[number], string>>

/**
 * The app on a phone, as a page: `GET /app?payment_id=&order_id=&amount=&product_code=` is where a link leads
 * that opens the app, and its button asks the store for the purchase. `buy` makes it and answers where it is
 * paid.
 */
export function registerAppPage(
  app: FastifyInstance,
  {
    buy,
    shop_url,
  }: { buy: (purchase: Record<string, unknown>) => { pay_url: string }; shop_url: () => string },
): void {
  const config = { emulator_route: 'page' as const }
  app.get<{ Querystring: Opened }>('/app', { config }, async ({ query }, reply) =>
    reply.headers(PAGE_HEADERS).send(appPage(query, shop_url())),
  )
  app.post<{ Body: Opened | undefined }>('/app', { config }, async ({ body }, reply) => {
    const { payment_id, order_id, product_code, amount } = body ?? {}
    const kopecks = Number(amount)
    if (!product_code || !Number.isSafeInteger(kopecks) || kopecks < 1)
      return reply
        .code(400)
        .headers(PAGE_HEADERS)
        .send(appPage(body ?? {}, shop_url()))
    const { pay_url } = buy({
      product_code,
      amount: kopecks,
      is_sandbox: true,
      ...(payment_id ? { developer_payload: payment_id } : {}),
      ...(order_id ? { order_id } : {}),
    })
    return reply.redirect(pay_url, 303)
  })
}

function appPage(opened: Opened, shop_url: string): string {
  const value = (name: keyof Opened, otherwise = ''): string => escapeHtml(opened[name] ?? otherwise)
  const hidden = (['payment_id', 'order_id'] as const).map(
    (name) => `<input type="hidden" name="${name}" value="${value(name)}">`,
  )
  return renderPage({
    language: 'ru',
    title: 'Приложение',
    note: 'Эмулятор RuStore: это экран приложения на телефоне.',
    body: `<h1>Покупка</h1><p>${value('payment_id')}</p><form method="post" action="/app">${hidden.join('')}
<label>Товар <input type="text" name="product_code" required
value="${value('product_code', 'minutes_30')}"></label>
<label>Цена, копеек <input type="text" name="amount" required inputmode="numeric"
value="${value('amount', '20000')}"></label>
<button class="main">Купить в RuStore</button></form>${wayBack(shop_url, 'Вернуться в магазин')}`,
  })
}
