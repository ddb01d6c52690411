import { z } from 'zod'
import { SCOPES } from '#http/who'
import { pageOf, shortText, timestamp } from '#http/wire'

const scope = z
  .enum(['*', ...SCOPES])
  .meta({ id: 'Scope', description: 'What a key may do; `*` is everything.' })

/** Body of `POST /v1/api_keys`. */
export const newApiKey = z
  .strictObject({
    name: shortText.describe('What people recognise the key by.'),
    scopes: z
      .array(scope)
      .min(1)
      .max(SCOPES.length + 1),
    rate_limit_per_minute: z
      .int()
      .min(1)
      .max(10_000_000)
      .nullable()
      .optional()
      .describe('Null is without a limit.'),
    expires_at: timestamp.nullable().optional(),
  })
  .meta({ id: 'NewApiKey' })

const facts = {
  id: z.string(),
  name: z.string(),
  hint: z.string().describe('How the secret begins and ends.'),
  mode: z.enum(['sandbox', 'live']),
  scopes: z.array(z.string()),
  rate_limit_per_minute: z.int().nullable(),
  created_by: z.string(),
  created_at: timestamp,
  expires_at: timestamp.nullable(),
  revoked_at: timestamp.nullable(),
  last_used_at: timestamp.nullable().describe('May be a minute behind.'),
}

/** A key as every answer shows it. */
export const apiKey = z
  .object(facts)
  .meta({ id: 'ApiKey', description: 'A secret API key without its secret.' })

/** A key just made: the only answer that holds a secret. */
export const apiKeyWithSecret = z
  .object({
    ...facts,
    secret: z.string().nullable().describe('Shown once; null when the answer is a replay.'),
  })
  .meta({ id: 'ApiKeyWithSecret' })

export const apiKeyPage = pageOf(apiKey)

/** Path of one key. */
export const apiKeyPath = z.object({ id: z.string().min(1).max(40) })

export const setupBody = z.strictObject({ token: z.string().min(1).max(100) }).meta({ id: 'Setup' })
export const setupQuery = z.object({ token: z.string().max(100).optional() })
