import { z } from 'zod'
import { currency, storable, unitCode } from '#http/wire'
import { AMOUNT_MAX } from '#kernel/money'
import { completeGrant, GRANTS_MAX, PRIORITY_MAX, VALIDITY_DAYS_MAX } from './product-grants.ts'
import {
  POSITION_MAX,
  productDescription,
  productDescriptions,
  productKey,
  productName,
  productNames,
} from './schemas.ts'

/** Units a file may name; an installation has no more. */
export const UNITS_MAX = 1000
/** Products a file may name, and so products an applied catalog may have. */
export const PRODUCTS_MAX = 2000
const PRICES_MAX = 50

/** Integers come out of the file as bigint, so that none is rounded on the way. */
function integer(min: bigint, max: bigint) {
  return z
    .bigint({ error: 'must be an integer' })
    .min(min, `must be at least ${min}`)
    .max(max, `must be at most ${max}`)
}
const small = (min: number, max: number) => integer(BigInt(min), BigInt(max)).transform(Number)
const moment = z.iso
  .datetime({ offset: true, error: 'must be a date and time with zone like 2026-03-01T00:00:00Z' })
  .transform((text) => new Date(text))
const fact = z.union([
  storable(1000, 0),
  z.boolean(),
  z.null(),
  z.number(),
  integer(-AMOUNT_MAX, AMOUNT_MAX).transform(Number),
])
const facts = z
  .record(storable(64), fact)
  .refine((value) => Object.keys(value).length <= 50, 'has more than 50 members')
  .refine((value) => JSON.stringify(value).length <= 4096, 'is larger than 4 KiB')

const unit = z.strictObject({
  scale: integer(1n, 1_000_000_000_000n),
  name: productName,
  names: productNames.default({}),
  kind: z.enum(['counted', 'money']).default('counted'),
  is_debt_allowed: z.boolean().default(false),
})

const grant = z
  .strictObject({
    unit: unitCode,
    amount: integer(1n, AMOUNT_MAX),
    validity_days: small(1, VALIDITY_DAYS_MAX).nullable().optional(),
    priority: small(0, PRIORITY_MAX).optional(),
    source: z.enum(['purchase', 'bonus']).optional(),
    is_paid: z.boolean().optional(),
  })
  .transform(completeGrant)

const product = z.strictObject({
  kind: z.enum(['pack']).default('pack'),
  name: productName,
  names: productNames.default({}),
  description: productDescription.nullable().default(null),
  descriptions: productDescriptions.default({}),
  position: small(-POSITION_MAX, POSITION_MAX).default(0),
  visible_from: moment.nullable().default(null),
  visible_until: moment.nullable().default(null),
  is_active: z.boolean().default(true),
  metadata: facts.default({}),
  grants: z.array(grant).min(1).max(GRANTS_MAX),
  prices: z
    .record(currency, integer(1n, AMOUNT_MAX))
    .default({})
    .refine((value) => Object.keys(value).length <= PRICES_MAX, `has more than ${PRICES_MAX} currencies`),
})

/** Everything a catalog file may say. */
export const catalogFile = z.strictObject({
  version: z.literal(1n, { error: 'must be 1' }).default(1n),
  units: z
    .record(unitCode, unit)
    .default({})
    .refine((value) => Object.keys(value).length <= UNITS_MAX, `has more than ${UNITS_MAX} units`),
  products: z
    .record(productKey, product)
    .default({})
    .refine((value) => Object.keys(value).length <= PRODUCTS_MAX, `has more than ${PRODUCTS_MAX} products`),
})
