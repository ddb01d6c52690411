import { z } from 'zod'
import { amount, currency, metadata, pageOf, pageQuery, storable, timestamp, unitCode } from '#http/wire'
import { GRANTS_MAX, PRIORITY_MAX, VALIDITY_DAYS_MAX } from './product-grants.ts'

/** Translations of one text at most. */
export const LOCALES_MAX = 50
/** Widest distance in the order of the shop. */
export const POSITION_MAX = 1_000_000

/** The owner's stable name of a product: `minutes_100`, `com.example.points.100`. */
export const productKey = z
  .string()
  .max(64)
  .regex(/^[a-z0-9][a-z0-9._-]*$/, 'must be small letters, digits, dots, dashes and underscores')

/** A language tag. */
export const localeTag = z
  .string()
  .max(35)
  .regex(/^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$/, 'must be a language tag like ru or en-GB')

const isSmall = (texts: object): boolean => Object.keys(texts).length <= LOCALES_MAX
export const productName = storable(200)
export const productDescription = storable(2000)
export const productNames = z
  .record(localeTag, productName)
  .refine(isSmall, `has more than ${LOCALES_MAX} languages`)
export const productDescriptions = z
  .record(localeTag, productDescription)
  .refine(isSmall, `has more than ${LOCALES_MAX} languages`)

export const idPath = z.object({ id: z.string().min(1).max(64) })

const validityDays = z
  .int()
  .min(1)
  .max(VALIDITY_DAYS_MAX)
  .nullable()
  .describe('Days from the fulfilment; null never expires.')
const priority = z.int().min(0).max(PRIORITY_MAX).describe('Lower is spent first.')
const source = z.enum(['purchase', 'bonus'])

const grantInput = z
  .strictObject({
    unit: unitCode,
    amount,
    validity_days: validityDays.optional(),
    priority: priority.optional(),
    source: source.optional(),
    is_paid: z.boolean().optional(),
  })
  .meta({
    id: 'ProductGrantInput',
    description:
      'What is absent follows from the source: a purchase has priority 50 and is paid, a bonus 20 and free.',
  })

const grant = z
  .object({ unit: unitCode, amount, validity_days: validityDays, priority, source, is_paid: z.boolean() })
  .meta({ id: 'ProductGrant', description: 'What one part of a product gives.' })

const facts = z.strictObject({
  name: productName.optional(),
  names: productNames.optional().describe('Name by language; `name` is the fallback.'),
  description: productDescription.nullable().optional(),
  descriptions: productDescriptions.optional(),
  position: z.int().min(-POSITION_MAX).max(POSITION_MAX).optional().describe('Place in the shop, ascending.'),
  visible_from: timestamp.nullable().optional().describe('On sale from this moment on.'),
  visible_until: timestamp.nullable().optional().describe('On sale before this moment.'),
  is_active: z.boolean().optional(),
  metadata: metadata.optional().describe('Shown to everybody in the public catalog. Replaced as a whole.'),
  grants: z.array(grantInput).min(1).max(GRANTS_MAX).optional(),
})

/** Body of PATCH /v1/products/{id}. */
export const productChange = facts.meta({
  id: 'ProductChange',
  description: 'Facts to change. Other grants make a new version; what was bought before stays as it was.',
})

/** Body of POST /v1/products. */
export const newProduct = facts
  .extend({
    key: productKey,
    kind: z.enum(['pack']).optional(),
    name: productName,
    grants: z.array(grantInput).min(1).max(GRANTS_MAX),
  })
  .meta({ id: 'NewProduct' })

const flag = z.codec(z.enum(['true', 'false']), z.boolean(), {
  decode: (text) => text === 'true',
  encode: (value) => (value ? 'true' : 'false'),
})

export const productListQuery = pageQuery.extend({ key: productKey.optional(), is_active: flag.optional() })

export const product = z
  .object({
    id: z.string(),
    key: z.string(),
    kind: z.enum(['pack']),
    version: z.int(),
    name: z.string(),
    names: z.record(z.string(), z.string()),
    description: z.string().nullable(),
    descriptions: z.record(z.string(), z.string()),
    position: z.int(),
    visible_from: timestamp.nullable(),
    visible_until: timestamp.nullable(),
    is_active: z.boolean(),
    grants: z.array(grant),
    metadata,
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Product', description: 'Something sold, with what its present version grants.' })

export const productPage = pageOf(product)

/** Body of POST /v1/prices. */
export const newPrice = z
  .strictObject({
    product_id: z.string().min(1).max(64),
    currency,
    amount,
    metadata: metadata.optional(),
  })
  .meta({ id: 'NewPrice' })

/** Body of PATCH /v1/prices/{id}. */
export const priceChange = z
  .strictObject({
    is_active: z.literal(false).optional().describe('Ends the price; it cannot be asked again.'),
    metadata: metadata.optional(),
  })
  .meta({ id: 'PriceChange' })

export const priceListQuery = pageQuery.extend({
  product_id: storable(64).optional(),
  currency: currency.optional(),
  is_active: flag.optional(),
})

export const price = z
  .object({
    id: z.string(),
    product_id: z.string(),
    currency,
    amount,
    is_active: z.boolean(),
    metadata,
    created_at: timestamp,
    deactivated_at: timestamp.nullable(),
  })
  .meta({ id: 'Price', description: 'What a product costs in one currency; never changes, only ends.' })

export const pricePage = pageOf(price)

export const catalogQuery = pageQuery.extend({
  currency: currency.optional().describe('Only products that have a price in it, with that price.'),
  locale: localeTag.optional().describe('Language of names and descriptions.'),
})

/** An item of the public catalog. */
export const catalogItem = z
  .object({
    id: z.string(),
    kind: z.enum(['pack']),
    name: z.string(),
    description: z.string().nullable(),
    grants: z.array(z.object({ unit: unitCode, amount, validity_days: validityDays, priority })),
    prices: z.array(z.object({ id: z.string(), currency, amount })),
    metadata,
  })
  .meta({ id: 'CatalogItem', description: 'A product on sale now.' })

export const catalogPage = pageOf(catalogItem)
