import { z } from 'zod'
import { pageOf, pageQuery, storable, timestamp } from '#http/wire'

const url = storable(2000).describe('https; nobody reaches private networks through it.')
const eventTypes = z
  .array(z.string().min(1).max(100))
  .min(1)
  .max(100)
  .describe('Types of events, or * for every type.')
const secret = z.string().max(200).describe('whsec_ and the base64 of 24 to 64 bytes; made when absent.')

/** Path of one endpoint or delivery. */
export const idPath = z.object({ id: z.string().min(1).max(60) })

/** Body of POST. */
export const newEndpoint = z
  .strictObject({
    url,
    description: storable(500, 0).optional(),
    event_types: eventTypes.optional(),
    secret: secret.optional(),
  })
  .meta({ id: 'NewWebhookEndpoint' })

/** Body of PATCH. */
export const endpointChange = z
  .strictObject({
    url: url.optional(),
    description: storable(500, 0).optional(),
    event_types: eventTypes.optional(),
    is_disabled: z.boolean().optional(),
  })
  .meta({ id: 'WebhookEndpointChange', description: 'An absent member leaves what it is.' })

/** Body of a rotation. */
export const rotation = z.strictObject({ secret: secret.optional() }).optional()

/** An endpoint as every answer shows it. */
export const endpoint = z
  .object({
    id: z.string(),
    url: z.string(),
    description: z.string(),
    event_types: z.array(z.string()),
    previous_secret_expires_at: timestamp
      .nullable()
      .describe('Until when the secret before the last rotation signs too.'),
    failing_since: timestamp.nullable().describe('Since when nothing succeeded; null after a success.'),
    disabled_at: timestamp.nullable(),
    disabled_reason: z.enum(['owner', 'gone', 'failing']).nullable(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'WebhookEndpoint', description: 'An address of your app that is told of events.' })

/** The answer that shows the secret; a replay of it has null there. */
export const endpointWithSecret = endpoint
  .extend({ secret: z.string().nullable().describe('Shown once; null in a replay.') })
  .meta({ id: 'WebhookEndpointWithSecret' })

export const endpointPage = pageOf(endpoint)

/** The answer to a deletion. */
export const deletedEndpoint = z.object({ id: z.string(), is_deleted: z.literal(true) })

const status = z.enum(['pending', 'sending', 'succeeded', 'failed', 'canceled'])

/** A delivery as every answer shows it. */
export const delivery = z
  .object({
    id: z.string(),
    webhook_endpoint_id: z.string(),
    event_id: z.string().describe('The webhook-id header.'),
    event_type: z.string(),
    status,
    result: z
      .enum(['succeeded', 'failed', 'timeout', 'refused'])
      .nullable()
      .describe('Of the last attempt; refused: the address may not be reached.'),
    status_code: z.int().nullable().describe('HTTP status of the last attempt, if there was one.'),
    attempts: z.int(),
    next_attempt_at: timestamp.nullable(),
    last_attempt_at: timestamp.nullable(),
    created_at: timestamp,
  })
  .meta({ id: 'WebhookDelivery', description: 'One event on its way to one endpoint.' })

export const deliveryPage = pageOf(delivery)

/** Query of the list. */
export const deliveryListQuery = pageQuery.extend({
  webhook_endpoint_id: z.string().max(60).optional(),
  status: status.optional(),
  event_type: z.string().max(100).optional(),
})
