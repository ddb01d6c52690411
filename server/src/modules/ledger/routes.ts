import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute, type RouteKit } from '#http/routing'
import { customerKey, unitCode } from '#http/wire'
import { DomainError } from '#kernel/errors'
import { isId } from '#kernel/ids'
import { toPage } from '#kernel/page'
import { claimForCustomer, resolveCustomer, type CustomerResolver } from '#modules/customers'
import type { BenefitKit } from '#modules/identity'
import { getGrant, grantOnce, listGrants } from './grants.ts'
import type { LedgerKit } from './kit.ts'
import { movementRoutes } from './movement-routes.ts'
import * as schemas from './schemas.ts'
import { getSpend, spend, spendMany, type NewSpend } from './spends.ts'
import { createUnit, getUnit, listUnits, updateUnit } from './units.ts'
import { listWallets, showWallet } from './wallets.ts'

const customer = z.object({ id: customerKey })
const id = z.object({ id: z.string().max(100) })
const READ = { key: 'wallets:read', staff: 'wallets:read' } as const

/** Adds every route of the ledger: what moves units otherwise than by a spend is in movement-routes.ts. */
export function ledgerRoutes(
  app: FastifyInstance,
  kit: RouteKit,
  ledger: LedgerKit,
  customers: CustomerResolver,
  benefits: BenefitKit,
): void {
  unitRoutes(app, kit)
  walletRoutes(app, kit, ledger, customers)
  grantRoutes(app, kit, benefits)
  spendRoutes(app, kit, ledger, customers)
  movementRoutes(app, kit, benefits)
}

function unitRoutes(app: FastifyInstance, kit: RouteKit): void {
  const WRITE = { key: 'catalog:write', staff: 'catalog:write' } as const
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/units',
    who: { key: 'catalog:read', staff: 'catalog:read' },
    tag: 'units',
    summary: 'List what is counted',
    query: schemas.unitFilter,
    answer: schemas.unitPage,
    read: async ({ query }) => {
      const [after] = query.cursor === undefined ? [] : kit.cursors.open('units', query.cursor)
      const rows = (await listUnits(kit.db)).filter(({ code }) => after === undefined || code > String(after))
      return toPage(rows, query.limit, kit.cursors, 'units', ({ code }) => [code], schemas.unitWire)
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/units',
    who: WRITE,
    tag: 'units',
    status: 201,
    summary: 'Make a unit',
    body: schemas.newUnit,
    answer: schemas.unit,
    errors: { 409: ['already_exists'] },
    audit: { action: 'unit.created', subject: (_call, made) => made.code },
    write: async (tx, { body }) => schemas.unitWire(await createUnit(tx, kit.clock, body)),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/units/:code',
    who: { key: 'catalog:read', staff: 'catalog:read' },
    tag: 'units',
    summary: 'Read a unit',
    params: z.object({ code: unitCode }),
    answer: schemas.unit,
    read: async ({ params }) => schemas.unitWire(await getUnit(kit.db, params.code)),
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/units/:code',
    who: WRITE,
    tag: 'units',
    summary: 'Change the names of a unit',
    description: 'Code, scale and kind never change: every amount that was ever kept is read by them.',
    params: z.object({ code: unitCode }),
    body: schemas.unitFacts,
    answer: schemas.unit,
    audit: { action: 'unit.changed', subject: ({ params }) => params.code },
    write: async (tx, { params, body }) =>
      schemas.unitWire(await updateUnit(tx, { code: params.code, ...body })),
  })
}

function walletRoutes(
  app: FastifyInstance,
  kit: RouteKit,
  ledger: LedgerKit,
  customers: CustomerResolver,
): void {
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers/:id/wallets',
    who: READ,
    tag: 'wallets',
    summary: 'List the wallets of a customer',
    params: customer,
    answer: schemas.walletPage,
    read: async ({ params }) => {
      const { id: customer_id } = await resolveCustomer(kit.db, params.id)
      return { items: await listWallets(kit.db, kit.clock, customer_id), next_cursor: null }
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers/:id/wallets/:unit',
    who: READ,
    tag: 'wallets',
    is_hot: true,
    summary: 'Read a wallet: balance, held, available, and its grants in the order they will be used',
    params: customer.extend({ unit: unitCode }),
    answer: schemas.wallet,
    encode: schemas.encodeWallet,
    read: async ({ params }) => {
      const customer_id =
        ownerOf(ledger, customers, params.id, params.unit) ??
        (await findOwner(ledger, customers, params.id, params.unit))
      return showWallet(ledger, { customer_id, unit: params.unit })
    },
  })
}

function grantRoutes(app: FastifyInstance, kit: RouteKit, benefits: BenefitKit): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/customers/:id/grants',
    who: { key: 'grants:write', staff: 'grants:write' },
    tag: 'wallets',
    status: 201,
    summary: 'Give a customer units',
    params: customer,
    body: schemas.newGrant,
    answer: schemas.grant,
    errors: { 403: ['approval_required'], 409: ['already_given'] },
    audit: { action: 'grant.made', is_for_people_only: true },
    write: async (tx, { params, body, actor, idempotency_key }) => {
      const owner = await resolveCustomer(tx, params.id)
      // Units given by hand are a correction by another name.
      if (actor.kind === 'user') {
        await kit.refuseAlone?.(tx, {
          kind: 'adjustment',
          measure: body.unit,
          amount: body.amount,
          actor_id: actor.id,
          customer_id: owner.id,
        })
      }
      const { once_per_person: benefit, ...facts } = body
      if (benefit !== undefined) await claimForCustomer(tx, benefits, { benefit, customer_id: owner.id })
      const made = await grantOnce(tx, kit.clock, {
        ...facts,
        customer_id: owner.id,
        actor_id: actor.id,
        idempotency_key,
      })
      return schemas.grantWire(await getGrant(tx, made.id))
    },
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/customers/:id/grants',
    who: READ,
    tag: 'wallets',
    summary: 'List every grant of a customer, newest first',
    params: customer,
    query: schemas.grantFilter,
    answer: schemas.grantPage,
    read: async ({ params, query }) => {
      const owner = await resolveCustomer(kit.db, params.id)
      const page = await listGrants(kit.db, kit.cursors, { customer_id: owner.id, unit: query.unit }, query)
      return { ...page, items: page.items.map(schemas.grantWire) }
    },
  })
}

const SPEND = { key: 'spends:write' } as const
const errors = { 402: ['insufficient_funds'], 422: ['idempotency_key_reused'] }

/**
 * Who is meant, if it is known at once. Whoever has a wallet is a customer: his own id needs no other proof,
 * so that a wallet seen for the first time costs one look, and those of the moment share it.
 */
function ownerOf(
  { directory }: LedgerKit,
  customers: CustomerResolver,
  id_text: string,
  unit: string,
): string | undefined {
  return directory.peek(id_text, unit) ? id_text : customers.peek(id_text)?.id
}

/** As {@link ownerOf}, looking it up. Throws NotFound. */
async function findOwner(
  { directory }: LedgerKit,
  customers: CustomerResolver,
  id_text: string,
  unit: string,
): Promise<string> {
  if (isId('cus', id_text) && (await directory.find(id_text, unit))) return id_text
  return (await customers.resolve(id_text)).id
}

function spendRoutes(
  app: FastifyInstance,
  kit: RouteKit,
  ledger: LedgerKit,
  customers: CustomerResolver,
): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/spends',
    who: SPEND,
    tag: 'spends',
    status: 201,
    is_hot: true,
    errors,
    summary: 'Use up units, all or nothing',
    body: schemas.newSpend,
    answer: schemas.spend,
    encode: schemas.encodeSpend,
    read: async (call) => {
      const { body, actor, idempotency_key } = call
      const { unit, amount, reason, reference, metadata } = body
      const customer_id =
        ownerOf(ledger, customers, body.customer_id, unit) ??
        (await findOwner(ledger, customers, body.customer_id, unit))
      const done = await spend(ledger, {
        customer_id,
        unit,
        amount,
        reason,
        reference,
        metadata,
        actor_id: actor.id,
        idempotency_key,
      })
      call.is_replay = done.is_replay
      return done
    },
  })
  spendBatchRoute(app, kit, ledger, customers)
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/spends/:id',
    who: READ,
    tag: 'spends',
    summary: 'Read a spend',
    params: id,
    answer: schemas.spend,
    read: ({ params }) => getSpend(kit.db, params.id),
  })
}

function spendBatchRoute(
  app: FastifyInstance,
  kit: RouteKit,
  ledger: LedgerKit,
  customers: CustomerResolver,
): void {
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/spends/batch',
    who: SPEND,
    tag: 'spends',
    errors,
    body_max_bytes: 1_048_576,
    summary: 'Many spends in one call, each by itself: one that is refused does not stop the others',
    body: schemas.newSpends,
    answer: schemas.spendResults,
    read: async ({ body, actor, idempotency_key }) => {
      const owners = await Promise.allSettled(
        body.items.map(
          async ({ customer_id, unit }) =>
            ownerOf(ledger, customers, customer_id, unit) ?? findOwner(ledger, customers, customer_id, unit),
        ),
      )
      const wishes = body.items.map((item, index): NewSpend | DomainError => {
        const owner = owners[index]
        if (owner?.status === 'fulfilled') {
          const key = item.idempotency_key ?? `${idempotency_key}:${index}`
          return { ...item, customer_id: owner.value, actor_id: actor.id, idempotency_key: key }
        }
        if (owner?.reason instanceof DomainError) return owner.reason
        throw owner?.reason
      })
      const done = await spendMany(
        ledger,
        wishes.filter((wish): wish is NewSpend => !(wish instanceof DomainError)),
      )
      const results = wishes.map((wish) => (wish instanceof DomainError ? { error: wish } : done.shift()))
      return { items: results.map(schemas.spendResultWire) }
    },
  })
}
