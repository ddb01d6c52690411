import { z } from 'zod'
import {
  amount,
  amountOrZero,
  customerKey,
  metadata,
  pageOf,
  pageQuery,
  shortText,
  timestamp,
  unitCode,
} from '#http/wire'
import { assert } from '#kernel/errors'
import { wireJson } from '#kernel/json'
import type { GrantState } from './grants.ts'
import type { Spend, SpendResult } from './spends.ts'
import type { Unit } from './units.ts'
import type { Wallet } from './wallets.ts'

const names = z
  .record(z.string().regex(/^[a-z]{2}(-[A-Z]{2})?$/), z.string().min(1).max(200))
  .refine((value) => Object.keys(value).length <= 50, 'has more than 50 languages')

export const unit = z
  .object({
    code: unitCode,
    scale: amount.describe(
      'How many smallest parts make one unit as people read it: 60 for a minute kept in seconds.',
    ),
    name: z.string(),
    translations: names,
    kind: z.enum(['counted', 'money']),
    is_debt_allowed: z.boolean(),
  })
  .meta({ id: 'Unit' })
export const newUnit = z.strictObject({
  code: unitCode,
  scale: amount.default(1n),
  name: shortText,
  translations: names.optional(),
  kind: z.enum(['counted', 'money']).optional(),
  is_debt_allowed: z.boolean().optional(),
})
export const unitFacts = newUnit.pick({ name: true, translations: true, is_debt_allowed: true }).partial()
export const unitPage = pageOf(unit)

const source = z.enum([
  'purchase',
  'subscription',
  'promo',
  'bonus',
  'referral',
  'refund',
  'manual',
  'transfer',
])

export const walletGrant = z.object({
  id: z.string(),
  granted: amount,
  remaining: amountOrZero.describe('Held units included.'),
  held: amountOrZero,
  priority: z.int(),
  source,
  expires_at: timestamp.nullable(),
  created_at: timestamp,
})
export const wallet = z
  .object({
    unit: unitCode,
    scale: amount,
    balance: amountOrZero.describe('Held units included; expired ones never.'),
    held: amountOrZero,
    available: amountOrZero.describe('What can be spent now.'),
    debt: amountOrZero,
    next_expiry: timestamp.nullable(),
    grants: z
      .array(walletGrant)
      .describe('What is not used up, in the order it will be used; at most a hundred.'),
    has_more_grants: z.boolean(),
  })
  .meta({ id: 'Wallet' })
export const walletPage = pageOf(wallet)

export const grant = z
  .object({
    id: z.string(),
    customer_id: z.string(),
    unit: unitCode,
    granted: amount,
    remaining: amountOrZero,
    held: amountOrZero,
    revoked: amountOrZero,
    priority: z.int(),
    is_paid: z.boolean(),
    source,
    starts_at: timestamp,
    expires_at: timestamp.nullable(),
    created_at: timestamp,
  })
  .meta({ id: 'Grant' })
export const grantPage = pageOf(grant)
export const newGrant = z.strictObject({
  unit: unitCode,
  amount,
  priority: z
    .int()
    .min(0)
    .max(1000)
    .optional()
    .describe('Lower is used up first; promo 10, bonus 20, paid 50.'),
  source: z.enum(['manual', 'promo', 'bonus', 'referral']).default('manual'),
  starts_at: timestamp.optional(),
  expires_at: timestamp.nullable().optional().describe('Exclusive; null or absent: never.'),
  once_per_person: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_.-]{0,99}$/)
    .optional()
    .describe(
      'A name of what is given, such as `trial`: refused with `already_given` if the person had it before, ' +
        'under another account, e-mail alias or device too, also after an erasure.',
    ),
  reason: shortText,
  reference: shortText.optional(),
  metadata: metadata.optional(),
})

export const newSpend = z.strictObject({
  customer_id: customerKey,
  unit: unitCode,
  amount,
  reason: shortText.optional(),
  reference: shortText.optional(),
  metadata: metadata.optional(),
})
export const slice = z.object({ grant_id: z.string(), amount })
export const spend = z
  .object({
    id: z.string(),
    customer_id: z.string(),
    unit: unitCode,
    amount,
    balance: amountOrZero.describe('Right after this spend.'),
    sequence: amount,
    slices: z.array(slice),
    created_at: timestamp,
  })
  .meta({ id: 'Spend' })
export const newSpends = z.strictObject({
  items: z
    .array(
      newSpend.extend({
        idempotency_key: z
          .string()
          .min(1)
          .max(255)
          .optional()
          .describe('Default: the header’s key, a colon, the position.'),
      }),
    )
    .min(1)
    .max(200),
})
export const spendResults = z.object({
  items: z.array(
    z.object({
      spend: spend.nullable(),
      error: z.object({ status: z.int(), code: z.string(), detail: z.string() }).loose().nullable(),
    }),
  ),
})

/** One of the answers to a batch: the spend, or why it was refused. */
export function spendResultWire(
  result: SpendResult | undefined,
): z.output<typeof spendResults>['items'][number] {
  assert(result, 'an item was left without an answer')
  if ('spend' in result) return { spend: result.spend, error: null }
  const { facts, status, code, message } = result.error
  // Facts hold amounts as bigint; what is passed on loosely must be JSON already.
  const told = JSON.parse(wireJson(facts)) as Record<string, unknown>
  return { spend: null, error: { ...told, status, code, detail: message } }
}

/** Written by hand for the hot path; a test compares it with {@link spend}. */
export function encodeSpend(value: Spend | z.output<typeof spend>): string {
  const slices = value.slices
    .map((part) => `{"grant_id":"${part.grant_id}","amount":${part.amount}}`)
    .join(',')
  return (
    `{"id":"${value.id}","customer_id":"${value.customer_id}","unit":"${value.unit}",` +
    `"amount":${value.amount},"balance":${value.balance},"sequence":${value.sequence},"slices":[${slices}],` +
    `"created_at":"${value.created_at.toISOString()}"}`
  )
}

/** Written by hand for the hot path; a test compares it with {@link wallet}. */
export function encodeWallet(value: Wallet | z.output<typeof wallet>): string {
  const grants = value.grants
    .map(
      (part) =>
        `{"id":"${part.id}","granted":${part.granted},"remaining":${part.remaining},"held":${part.held},` +
        `"priority":${part.priority},"source":"${part.source}",` +
        `"expires_at":${momentOrNull(part.expires_at)},` +
        `"created_at":"${part.created_at.toISOString()}"}`,
    )
    .join(',')
  return (
    `{"unit":"${value.unit}","scale":${value.scale},"balance":${value.balance},"held":${value.held},` +
    `"available":${value.available},"debt":${value.debt},"next_expiry":${momentOrNull(value.next_expiry)},` +
    `"grants":[${grants}],"has_more_grants":${value.has_more_grants}}`
  )
}

function momentOrNull(moment: Date | null): string {
  return moment === null ? 'null' : `"${moment.toISOString()}"`
}

export function unitWire({ created_at: _created, ...rest }: Unit): z.output<typeof unit> {
  return rest
}

export function grantWire(state: GrantState): z.output<typeof grant> {
  const { price_amount: _price, price_currency: _currency, source_id: _source, ...rest } = state
  return rest
}

export const unitFilter = pageQuery
export const grantFilter = pageQuery.extend({ unit: unitCode.optional() })
