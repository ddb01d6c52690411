import { z } from 'zod'
import { PAGE_DEFAULT, PAGE_MAX } from '#kernel/page'

/** The largest integer on the wire, 2^53 − 1. */
const MAX = Number.MAX_SAFE_INTEGER

/** A positive amount in the smallest part: an integer in JSON, a bigint in code. */
export const amount = z
  .codec(z.int().min(1).max(MAX), z.bigint(), {
    decode: (number) => BigInt(number),
    encode: (value) => Number(value),
  })
  .meta({ id: 'Amount', description: 'Integer in the smallest part of the unit or currency, 1 to 2^53−1.' })

/** An amount that may be zero. */
export const amountOrZero = z
  .codec(z.int().min(0).max(MAX), z.bigint(), {
    decode: (number) => BigInt(number),
    encode: (value) => Number(value),
  })
  .meta({
    id: 'AmountOrZero',
    description: 'Integer in the smallest part of the unit or currency, 0 to 2^53−1.',
  })

/** An amount with a sign, for corrections. */
export const signedAmount = z
  .codec(z.int().min(-MAX).max(MAX), z.bigint(), {
    decode: (number) => BigInt(number),
    encode: (value) => Number(value),
  })
  .meta({ id: 'SignedAmount', description: 'Integer in the smallest part, −(2^53−1) to 2^53−1.' })

/** A moment: ISO 8601 with a zone in JSON, a Date in code; answers are in UTC with milliseconds. */
export const timestamp = z
  .codec(z.iso.datetime({ offset: true }), z.date(), {
    decode: (text) => new Date(text),
    encode: (moment) => moment.toISOString(),
  })
  .meta({ id: 'Timestamp', description: 'ISO 8601 date and time with zone.' })

/** Code of a unit: `minute`, `check`, `RUB`. */
export const unitCode = z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,31}$/)
/** ISO 4217 code, or `XTR` and the crypto assets gateways use. */
export const currency = z.string().regex(/^[A-Z]{3,5}$/)

/** PostgreSQL keeps no NUL character, and half of a surrogate pair is no character at all. */
const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed()

/** A text the database can keep. */
export function storable(length_max: number, length_min = 1) {
  return z.string().min(length_min).max(length_max).refine(isStorable, 'has a character that cannot be kept')
}

export const shortText = storable(200)
/** A customer: our id, or `external_id:…`, or `telegram_id:…`. */
export const customerKey = z.string().min(1).max(220)
/** Up to 4 KiB of the caller's own facts. */
export const metadata = z
  .record(storable(64), z.union([storable(1000, 0), z.number(), z.boolean(), z.null()]))
  .refine((value) => Object.keys(value).length <= 50, 'has more than 50 members')
  .refine((value) => JSON.stringify(value).length <= 4096, 'is larger than 4 KiB')
  .meta({ id: 'Metadata', description: 'The caller’s own facts: up to 50 members, 4 KiB.' })

/** Query of every list. */
export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(PAGE_DEFAULT),
  cursor: z.string().max(1000).optional(),
})

/** Answer of every list. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), next_cursor: z.string().nullable() })
}

/** An RFC 9457 problem; every error of the API has this shape. */
export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string(),
    detail: z.string().optional(),
    instance: z.string().optional(),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .loose()
  .meta({ id: 'Problem', description: 'RFC 9457 problem details with a stable code.' })
