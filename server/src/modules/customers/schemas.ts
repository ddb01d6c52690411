import { z } from 'zod'
import { metadata, pageOf, pageQuery, storable, timestamp } from '#http/wire'
import { EXTERNAL_ID_MAX, isExternalId, parseTelegramId } from './customer-key.ts'

/** Path of one customer: our id, `external_id:…` or `telegram_id:…`. */
export const customerPath = z.object({ id: z.string().min(1).max(220) })

const externalId = z
  .string()
  .max(EXTERNAL_ID_MAX)
  .refine(
    isExternalId,
    'must be 1 to 200 characters without control characters and without spaces at the ends',
  )

const telegramDigits = z
  .string()
  .max(16)
  .refine((text) => parseTelegramId(text) !== undefined, 'must be a positive number up to 2^53−1')

/** Clients whose integers are small may send the digits as a text; the answer is always an integer. */
const telegramId = z
  .codec(z.union([z.int().min(1), telegramDigits]), z.bigint(), {
    decode: (value) => BigInt(value),
    encode: (value) => Number(value),
  })
  .meta({ description: 'Telegram user id: an integer, or its digits as a text.' })

/** RFC 5321 allows 254 characters; addresses with letters of any alphabet are in use. */
const email = storable(254).regex(
  /^[^\s@"<>,;:\\()[\]]{1,64}@[^\s@"<>,;:\\()[\]]{1,253}$/,
  'must be an e-mail address',
)
const phone = z.string().regex(/^\+[1-9]\d{6,14}$/, 'must be a phone number like +79991234567')
const locale = z
  .string()
  .regex(/^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$/, 'must be a language tag like ru or en-GB')
const country = z.string().regex(/^[A-Z]{2}$/, 'must be a country code like RU')

/** Body of POST and PATCH. */
export const customerFacts = z
  .strictObject({
    external_id: externalId.nullable().optional(),
    telegram_id: telegramId.nullable().optional(),
    email: email.nullable().optional(),
    phone: phone.nullable().optional(),
    name: storable(200).nullable().optional(),
    locale: locale.nullable().optional(),
    country: country.nullable().optional(),
    metadata: metadata.optional().describe('Replaced as a whole.'),
  })
  .meta({ id: 'CustomerFacts', description: 'What is known of a customer; null takes a fact away.' })

/** Query of the list. */
export const customerListQuery = pageQuery.extend({
  email: storable(254).optional(),
  external_id: externalId.optional(),
  telegram_id: z.codec(telegramDigits, z.bigint(), { decode: BigInt, encode: String }).optional(),
  query: storable(200)
    .optional()
    .describe('Beginnings of words of the name, e-mail, phone, external id or id, in any order.'),
})

const wholeTelegramId = z.codec(z.int().min(1), z.bigint(), { decode: BigInt, encode: Number })

/** A customer as every answer shows it. */
export const customer = z
  .object({
    id: z.string(),
    external_id: z.string().nullable(),
    telegram_id: wholeTelegramId.nullable(),
    email: z.string().nullable(),
    phone: z.string().nullable(),
    name: z.string().nullable(),
    locale: z.string().nullable(),
    country: z.string().nullable(),
    metadata,
    erased_at: timestamp.nullable(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Customer', description: 'Who owns wallets and orders.' })

export const customerPage = pageOf(customer)
