import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { html, sendPage, type Html } from '#http/page'
import { addRoute, type RouteKit } from '#http/routing'
import { formatMoney } from '#kernel/locale'
import { panelPackages, panelPayments, panelUsers } from '#modules/admin'
import { minutesOf, onSale, UNIT } from './screph-words.ts'

/** What a panel shows of each kind; the API pages through the rest. */
const ROWS = 50

/**
 * Screph's `/admin/`: users, packages, balances and transactions on one plain page. A browser asks for the
 * secret key as the user name (HTTP Basic) until people have accounts of their own.
 */
export function screphAdminRoutes(app: FastifyInstance, kit: RouteKit): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/admin/',
    who: { key: 'admin' },
    tag: 'screph',
    is_hidden: true,
    summary: 'Users, packages, balances, transactions',
    answer: z.string(),
    reply: async (_call, reply) => {
      const [users, sold, payments, packages] = await Promise.all([
        panelUsers(kit.db, UNIT, 'RUB', ROWS),
        panelPackages(kit.db, ROWS),
        panelPayments(kit.db, ROWS),
        onSale(kit),
      ])
      const body = html` <h1>Kopilka · Screph</h1>
        <h2>Packages on sale</h2>
        ${table(
          ['Package', 'Minutes', 'Days', 'Prices'],
          packages.map((product) => [
            product.name,
            String(
              minutesOf(
                product.grants.reduce((sum, grant) => (grant.unit === UNIT ? sum + grant.amount : sum), 0n),
              ),
            ),
            String(product.grants[0]?.validity_days ?? '∞'),
            product.prices.map((price) => formatMoney(price.amount, price.currency, 'en')).join(' · '),
          ]),
        )}
        <h2>Sold</h2>
        ${table(
          ['Package', 'Pieces', 'Revenue'],
          sold.map((row) => [row.name, String(row.sold), formatMoney(row.revenue, row.currency, 'en')]),
        )}
        <h2>Users and balances</h2>
        ${table(
          ['User', 'Telegram', 'E-mail', 'Minutes left', 'Paid', 'Since'],
          users.map((user) => [
            user.external_id ?? user.id,
            String(user.telegram_id ?? ''),
            user.email ?? '',
            String(minutesOf(user.balance)),
            formatMoney(user.paid, 'RUB', 'en'),
            user.created_at.toISOString().slice(0, 10),
          ]),
        )}
        <h2>Transactions</h2>
        ${table(
          ['Payment', 'User', 'Gateway', 'Status', 'Amount', 'Refunded', 'Time'],
          payments.map((payment) => [
            payment.id,
            payment.customer_id,
            payment.gateway,
            payment.status,
            formatMoney(payment.amount, payment.currency, 'en'),
            formatMoney(payment.refunded_amount, payment.currency, 'en'),
            payment.created_at.toISOString().slice(0, 19).replace('T', ' '),
          ]),
        )}`
      return sendPage(reply, { title: 'Kopilka · Screph', is_wide: true, body })
    },
  })
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): Html {
  if (rows.length === 0) return html`<p class="soft">Nothing yet.</p>`
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          ${heads.map((head) => html`<th>${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell) => html`<td>${cell}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`
}
