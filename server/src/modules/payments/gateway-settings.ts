import type { Gateway } from '@kopilka/extension'
import { GatewaySettingsInvalid } from './errors.ts'

/**
 * A gateway's configuration from what the owner set. Throws {@link GatewaySettingsInvalid}, which names every
 * setting that is missing, does not fit, or is none of this gateway's: a misspelled one would not be missed.
 */
export function readGatewaySettings(gateway: Gateway, values: unknown): unknown {
  const read = gateway.configSchema.safeParse(values)
  const known = fieldsOf(gateway.configSchema)
  const given = typeof values === 'object' && values !== null ? Object.keys(values) : []
  const problems = [
    ...(read.error?.issues ?? []).map(
      ({ path, message }) => `${variableOf(gateway.id, path.map(String).join('_'))}: ${message}`,
    ),
    ...given
      .filter((field) => known !== undefined && !known.includes(field))
      .map((field) => `${variableOf(gateway.id, field)} is none of its settings (${known?.join(', ')})`),
  ]
  if (!read.success || problems.length > 0) {
    throw new GatewaySettingsInvalid(`The gateway ${gateway.id}: ${problems.join('; ')}`, {
      gateway: gateway.id,
    })
  }
  return read.data
}

/** Members of an object's schema; undefined of any other schema. */
function fieldsOf(schema: unknown): string[] | undefined {
  const has_shape = typeof schema === 'object' && schema !== null && 'shape' in schema
  return has_shape && typeof schema.shape === 'object' && schema.shape !== null
    ? Object.keys(schema.shape)
    : undefined
}

/** `KOPILKA_GATEWAY_CRYPTO__PAY_TOKEN` of crypto-pay's token. */
function variableOf(id: string, field: string): string {
  return `KOPILKA_GATEWAY_${id.replaceAll('-', '__')}_${field}`.toUpperCase()
}
