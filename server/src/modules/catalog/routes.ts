import type { FastifyInstance } from 'fastify'
import { addRoute, type RouteKit } from '#http/routing'
import { createPrice, getPrice, listPrices, updatePrice } from './prices.ts'
import { createProduct, getProduct, listProducts, updateProduct } from './products.ts'
import * as schemas from './schemas.ts'
import { createStorefront, STOREFRONT_MAX_AGE_SECONDS } from './storefront.ts'

const READ = { key: 'catalog:read', staff: 'catalog:read' } as const
const WRITE = { key: 'catalog:write', staff: 'catalog:write' } as const

/** `/v1/products`, `/v1/prices`, and the public `/v1/catalog`. */
export function catalogRoutes(app: FastifyInstance, kit: RouteKit): void {
  productRoutes(app, kit)
  priceRoutes(app, kit)
  catalogRoute(app, kit)
}

function productRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/products',
    who: WRITE,
    tag: 'catalog',
    summary: 'Create a product',
    body: schemas.newProduct,
    status: 201,
    answer: schemas.product,
    errors: { 409: ['already_exists'] },
    audit: { action: 'product.created' },
    write: (tx, { body }) => createProduct(tx, clock, body),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/products',
    who: READ,
    tag: 'catalog',
    summary: 'List products, newest first',
    query: schemas.productListQuery,
    answer: schemas.productPage,
    read: ({ query: { limit, cursor, ...filter } }) => listProducts(db, cursors, filter, { limit, cursor }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/products/:id',
    who: READ,
    tag: 'catalog',
    summary: 'Read a product',
    params: schemas.idPath,
    answer: schemas.product,
    read: ({ params }) => getProduct(db, params.id),
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/products/:id',
    who: WRITE,
    tag: 'catalog',
    summary: 'Change a product',
    description: 'Other grants make a new version; what was bought before stays as it was.',
    params: schemas.idPath,
    body: schemas.productChange,
    answer: schemas.product,
    audit: { action: 'product.changed' },
    write: (tx, { params, body }) => updateProduct(tx, clock, { id: params.id, facts: body }),
  })
}

function priceRoutes(app: FastifyInstance, kit: RouteKit): void {
  const { db, clock, cursors } = kit
  addRoute(app, kit, {
    method: 'POST',
    url: '/v1/prices',
    who: WRITE,
    tag: 'catalog',
    summary: 'Ask a price from now on',
    description:
      'The product’s active price in this currency, if any, is deactivated; earlier orders keep theirs.',
    body: schemas.newPrice,
    status: 201,
    answer: schemas.price,
    errors: { 404: ['not_found'], 409: ['already_exists'] },
    audit: { action: 'price.created' },
    write: (tx, { body }) => createPrice(tx, clock, body),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/prices',
    who: READ,
    tag: 'catalog',
    summary: 'List prices, newest first',
    query: schemas.priceListQuery,
    answer: schemas.pricePage,
    read: ({ query: { limit, cursor, ...filter } }) => listPrices(db, cursors, filter, { limit, cursor }),
  })
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/prices/:id',
    who: READ,
    tag: 'catalog',
    summary: 'Read a price',
    params: schemas.idPath,
    answer: schemas.price,
    read: ({ params }) => getPrice(db, params.id),
  })
  addRoute(app, kit, {
    method: 'PATCH',
    url: '/v1/prices/:id',
    who: WRITE,
    tag: 'catalog',
    summary: 'End a price or replace its metadata',
    params: schemas.idPath,
    body: schemas.priceChange,
    answer: schemas.price,
    audit: { action: 'price.changed' },
    write: (tx, { params, body }) => updatePrice(tx, clock, { id: params.id, ...body }),
  })
}

function catalogRoute(app: FastifyInstance, kit: RouteKit): void {
  const storefront = createStorefront(kit.db, kit.clock, kit.cursors)
  app.addHook('onClose', () => storefront.close())
  addRoute(app, kit, {
    method: 'GET',
    url: '/v1/catalog',
    who: { anonymous: true },
    tag: 'catalog',
    summary: 'What is on sale now',
    description: 'Public. Answers carry an `etag` and may be kept for five seconds.',
    query: schemas.catalogQuery,
    answer: schemas.catalogPage,
    reply: async ({ query, headers }, reply) => {
      const { text, etag } = await storefront.read(query)
      reply.header('etag', etag).header('cache-control', `public, max-age=${STOREFRONT_MAX_AGE_SECONDS}`)
      if (namesEtag(headers['if-none-match'], etag)) return reply.status(304).send()
      return reply.type('application/json; charset=utf-8').serializer(String).send(text)
    },
  })
}

/** RFC 9110: a list of tags or `*`; weak tags compare equal to strong ones. */
function namesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag)
}
