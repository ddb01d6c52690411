import { z } from 'zod'
import { amountOrZero, customerKey, pageOf, pageQuery, timestamp, unitCode } from '#http/wire'
import type { MeterEventRow, MeterRow, RateCardRow } from './queries.ts'
import type { Quote } from './usage.ts'

const code = z.string().regex(/^[a-z][a-z0-9_]{0,49}$/)
/** A day of audio at most; longer work is reported in pieces. */
const duration = z
  .codec(z.int().min(0).max(86_400_000), z.bigint(), {
    decode: (number) => BigInt(number),
    encode: (ms) => Number(ms),
  })
  .meta({ id: 'DurationMs', description: 'Milliseconds, at most a day.' })

export const newMeterEvent = z.strictObject({
  customer_id: customerKey,
  meter: code,
  duration_ms: duration,
  channels: z.int().min(1).max(16).default(1),
  event_id: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('The caller’s name of this use; default: the Idempotency-Key.'),
  provider: z.string().min(1).max(50).optional(),
  mode: z.string().min(1).max(50).optional(),
  session_id: z.string().min(1).max(200).optional(),
  occurred_at: timestamp.optional(),
})

export const quote = z
  .object({
    meter: code,
    unit: unitCode,
    billable_ms: amountOrZero,
    amount: amountOrZero,
    rate_card_id: z.string().nullable(),
    cost_nano: amountOrZero.nullable().describe('What the provider charges, in billionths of cost_currency.'),
    cost_currency: z.string().nullable(),
  })
  .meta({ id: 'UsageQuote' })

export const meterEvent = z
  .object({
    id: z.string(),
    event_id: z.string(),
    customer_id: z.string(),
    meter: code,
    provider: z.string().nullable(),
    mode: z.string().nullable(),
    session_id: z.string().nullable(),
    duration_ms: amountOrZero,
    channels: z.int(),
    billable_ms: amountOrZero,
    unit: unitCode,
    amount: amountOrZero,
    spend_id: z.string().nullable(),
    slices: z.array(z.object({ grant_id: z.string(), amount: amountOrZero })),
    balance: amountOrZero,
    cost_nano: amountOrZero.nullable(),
    cost_currency: z.string().nullable(),
    occurred_at: timestamp,
    created_at: timestamp,
  })
  .meta({ id: 'MeterEvent' })

export const meter = z
  .object({
    code,
    name: z.string().min(1).max(200),
    unit: unitCode,
    part_ms: amountOrZero,
    increment_ms: amountOrZero,
    minimum_ms: amountOrZero,
    channel_group: z.int().min(1).max(16),
    round_per: z.enum(['request', 'session']),
    empty_increments: z.int().min(0).max(10),
    is_active: z.boolean(),
  })
  .meta({ id: 'Meter' })

const ms = (min: number) =>
  z.codec(z.int().min(min).max(86_400_000), z.bigint(), {
    decode: (number) => BigInt(number),
    encode: (value) => Number(value),
  })

export const newMeter = z.strictObject({
  code,
  name: z.string().min(1).max(200),
  unit: unitCode,
  part_ms: ms(1).default(1000n),
  increment_ms: ms(1),
  minimum_ms: ms(0).default(0n),
  channel_group: z.int().min(1).max(16).default(1),
  round_per: z.enum(['request', 'session']).default('request'),
  empty_increments: z.int().min(0).max(10).default(0),
  is_active: z.boolean().default(true),
})

export const rateCard = z
  .object({
    id: z.string(),
    provider: z.string(),
    mode: z.string(),
    increment_ms: amountOrZero,
    minimum_ms: amountOrZero,
    channel_group: z.int(),
    round_per: z.enum(['request', 'session']),
    empty_increments: z.int(),
    nano_per_increment: amountOrZero,
    currency: z.string(),
    as_of: z.string(),
    source: z.string(),
    effective_from: timestamp,
    effective_to: timestamp.nullable(),
  })
  .meta({ id: 'RateCard' })

export const newRateCard = z.strictObject({
  provider: z.string().min(1).max(50),
  mode: z.string().min(1).max(50),
  increment_ms: ms(1),
  minimum_ms: ms(0).default(0n),
  channel_group: z.int().min(1).max(16).default(1),
  empty_increments: z.int().min(0).max(10).default(0),
  nano_per_increment: amountOrZero,
  currency: z.string().regex(/^[A-Z]{3}$/),
  as_of: z.iso.date(),
  source: z.string().min(1).max(300),
  effective_from: timestamp,
})

export const meterPage = pageOf(meter)
export const rateCardPage = pageOf(rateCard)
export const meterEventPage = pageOf(meterEvent)
export const meterEventFilter = pageQuery.extend({
  customer_id: customerKey.optional(),
  meter: code.optional(),
})

export function meterEventWire(row: MeterEventRow): z.output<typeof meterEvent> {
  const { balance_after, input_digest: _digest, rate_card_id: _card, slices, ...rest } = row
  return {
    ...rest,
    slices: slices.map((slice) => ({ grant_id: slice.grant_id, amount: BigInt(slice.amount) })),
    balance: balance_after,
  }
}

export function meterWire(row: MeterRow): z.output<typeof meter> {
  const { created_at: _created, updated_at: _updated, ...rest } = row
  return rest
}

export function rateCardWire(row: RateCardRow): z.output<typeof rateCard> {
  const { created_at: _created, ...rest } = row
  return rest
}

export function quoteWire(value: Quote): z.output<typeof quote> {
  return value
}
