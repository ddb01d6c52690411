import { eventType } from '#kernel/events'

export interface EndpointDisabledPayload {
  webhook_endpoint_id: string
  /** `gone`: it answered 410. `failing`: for five days nothing succeeded. */
  reason: 'gone' | 'failing'
  /** ISO 8601. */
  disabled_at: string
}

export const webhookEndpointDisabled = eventType<EndpointDisabledPayload>(
  'webhook_endpoint.disabled',
  'Nothing more is sent to an endpoint, since it is gone or fails; told to the other endpoints.',
)
export const webhookEndpointTested = eventType<{ webhook_endpoint_id: string }>(
  'webhook_endpoint.tested',
  'Somebody asked for a test message; sent to that endpoint alone, whatever types it chose.',
)
