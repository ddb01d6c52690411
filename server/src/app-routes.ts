import type { FastifyInstance } from 'fastify'
import type { RouteKit } from '#http/routing'
import type { Clock } from '#kernel/clock'
import { adminRoutes, approvalRoutes, personalDataRoutes } from '#modules/admin'
import { catalogRoutes } from '#modules/catalog'
import {
  customerRoutes,
  organizationRoutes,
  type CustomerResolver,
  type SharedBooks,
} from '#modules/customers'
import { identityRoutes } from '#modules/identity'
import { ledgerRoutes, listWallets, spendWithin, type LedgerKit } from '#modules/ledger'
import { notificationRoutes, type NotificationsKit } from '#modules/notifications'
import { orderRoutes, type OrdersKit } from '#modules/orders'
import { paymentRoutes, sandboxRoutes, type PaymentsKit, type StoreEvents } from '#modules/payments'
import { usageRoutes } from '#modules/usage'
import { botGenericAdminRoutes } from './facades/bot-generic-admin.ts'
import { botGenericRoutes } from './facades/bot-generic.ts'
import { mutualCheckRoutes } from './facades/mutual-check.ts'
import { rustorePointsRoutes } from './facades/rustore-points.ts'
import { screphAdminRoutes } from './facades/screph-admin.ts'
import { screphRoutes } from './facades/screph.ts'
import type { PeopleApp } from './app-people.ts'

/** What routes work with. */
export interface AppParts {
  mode: 'sandbox' | 'live'
  ledger: LedgerKit
  payments: PaymentsKit
  orders: OrdersKit
  notifications: NotificationsKit
  store: StoreEvents
  resolver: CustomerResolver
  people: PeopleApp
}

/** Every route there is, but those the HTTP edge adds itself. */
export function addRoutes(http: FastifyInstance, kit: RouteKit, parts: AppParts): void {
  identityRoutes(http, kit, { mode: parts.mode })
  parts.people.addRoutes(http, kit)
  customerRoutes(http, kit)
  organizationRoutes(http, kit, sharedBooks(kit.clock))
  ledgerRoutes(http, kit, parts.ledger, parts.resolver, parts.people.routes.people)
  catalogRoutes(http, kit)
  paymentRoutes(http, kit, parts.payments, parts.store)
  sandboxRoutes(http, kit, parts.payments, parts.store)
  orderRoutes(http, kit, parts.orders)
  usageRoutes(http, kit)
  notificationRoutes(http, kit, parts.notifications)
  adminRoutes(http, kit, { mode: parts.mode })
  approvalRoutes(http, kit, parts.orders)
  personalDataRoutes(http, kit, parts.people.routes.people)
  screphRoutes(http, kit, { ...parts, people: parts.people.routes })
  botGenericRoutes(http, kit, parts.people.routes)
  mutualCheckRoutes(http, kit, parts)
  botGenericAdminRoutes(http, kit, parts.people.routes)
  rustorePointsRoutes(http, kit, { ...parts, people: parts.people.routes })
  screphAdminRoutes(http, kit)
}

/** Organizations share a customer's wallets; the books are above them. */
function sharedBooks(clock: Clock): SharedBooks {
  return {
    listWallets: (sql, customer_id) => listWallets(sql, clock, customer_id),
    spend: (tx, input) => spendWithin(tx, clock, input),
  }
}
