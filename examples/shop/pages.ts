import { randomUUID } from 'node:crypto'

/** What the shop shows of Kopilka's answers: only the members it uses. */
export interface CatalogItem {
  id: string
  name: string
  description: string | null
  prices: { id: string; currency: string; amount: number }[]
}

export interface Wallet {
  unit: string
  scale: number
  available: number
  next_expiry: string | null
}

export interface Order {
  id: string
  status: string
  total: number
  currency: string
  created_at: string
  lines: { name: string }[]
  payment: {
    id: string
    status: string
    gateway: string
    external_id: string | null
    checkout_url: string | null
  } | null
}

const STYLE = `body{font:16px/1.45 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1.5rem;
color:#16202a;background:#f5f7f9}h1{margin:0 0 .25rem}small,.soft{color:#5b6875}
.shelf{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem;margin:1rem 0}
.card{background:#fff;border:1px solid #d9dfe5;border-radius:.75rem;padding:1rem}
select,button{font:inherit;width:100%;padding:.55rem;margin-top:.5rem;border-radius:.5rem;
border:1px solid #d9dfe5;background:#fff}button{background:#2457d6;color:#fff;border:0;cursor:pointer}
table{width:100%;border-collapse:collapse;background:#fff;border-radius:.75rem}
td,th{text-align:left;padding:.5rem;border-bottom:1px solid #e6eaee}a{color:#2457d6}`

export function homePage(shown: {
  items: readonly CatalogItem[]
  gateways: readonly { id: string; currency: string }[]
  wallet: Wallet
  orders: readonly Order[]
}): string {
  const { items, gateways, wallet, orders } = shown
  const left = (wallet.available / wallet.scale).toFixed(1)
  const until = wallet.next_expiry === null ? '' : `, the first of it ends ${wallet.next_expiry.slice(0, 10)}`
  const cards = items.map((item) => card(item, gateways)).join('\n')
  const rows = orders.map(
    (order) => `<tr><td><a href="/orders/${escape(order.id)}">${escape(names(order))}</a></td>
<td>${money(order.total, order.currency)}</td><td>${escape(order.payment?.gateway ?? '')}</td>
<td>${escape(order.payment?.status ?? order.status)}</td></tr>`,
  )
  const history = `<h2>Orders</h2><table><tr><th>What</th><th>Price</th><th>Gateway</th><th>Payment</th></tr>
${rows.join('\n')}</table>`
  return page(
    'A shop on Kopilka',
    `<p>You have <b>${left}</b> minutes${escape(until)}.</p><div class="shelf">${cards}</div>${history}`,
  )
}

export function orderPage(order: Order): string {
  const { payment } = order
  const is_open = payment?.checkout_url != null && ['pending', 'requires_action'].includes(payment.status)
  const refund_url = `/orders/${escape(order.id)}/refund`
  const may_refund = payment !== null && ['succeeded', 'partially_refunded'].includes(payment.status)
  return page(
    names(order),
    `<p>${money(order.total, order.currency)} through ${escape(payment?.gateway ?? 'nothing')}</p>
<p>The order is <b>${escape(order.status)}</b>, its payment is <b>${escape(payment?.status ?? 'absent')}</b>
<small>${escape(payment?.external_id ?? '')}</small>.</p>
${is_open ? `<p><a href="${escape(payment.checkout_url ?? '')}">Go and pay</a></p>` : ''}
${may_refund ? `<form method="post" action="${refund_url}"><button>Refund</button></form>` : ''}
<p><a href="/orders/${escape(order.id)}">Look again</a> · <a href="/">Back to the shop</a></p>`,
  )
}

export function messagePage(title: string, text: string): string {
  return page(title, `<p>${escape(text)}</p><p><a href="/">Back to the shop</a></p>`)
}

/** Every gateway is offered whose currency the product has a price in; the price goes along with it. */
function card(item: CatalogItem, gateways: readonly { id: string; currency: string }[]): string {
  const offers = gateways.flatMap((gateway) => {
    const price = item.prices.find(({ currency }) => currency === gateway.currency)
    return price ? [{ gateway: gateway.id, price }] : []
  })
  const options = offers.map(({ gateway, price }) => {
    const id = escape(gateway)
    return `<option value="${id}">${id}, ${money(price.amount, price.currency)}</option>`
  })
  const prices = offers.map(
    ({ gateway, price }) =>
      `<input type="hidden" name="price:${escape(gateway)}" value="${escape(price.id)}">`,
  )
  return `<form class="card" method="post" action="/buy"><h2>${escape(item.name)}</h2>
<small>${escape(item.description ?? '')}</small>${prices.join('')}
<input type="hidden" name="key" value="${randomUUID()}">
<select name="gateway" aria-label="Gateway">${options.join('')}</select><button>Buy</button></form>`
}

function names(order: Order): string {
  return order.lines.map((line) => line.name).join(', ')
}

/** Amounts come in the smallest part; Stars have no parts. */
function money(amount: number, currency: string): string {
  if (currency === 'XTR') return `${amount} ⭐`
  return new Intl.NumberFormat('en', { style: 'currency', currency }).format(amount / 100)
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>${escape(title)}</title>
<style>${STYLE}</style></head><body><h1>${escape(title)}</h1>${body}</body></html>`
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}
