import { Ajv } from 'ajv'
import ajvFormats from 'ajv-formats'
import { ControlError } from './errors.ts'

/** What every emulator has; a vendor adds its credentials and switches. */
export interface BaseSettings {
  /** Where notifications go; an empty string means nowhere. */
  webhook_url: string
}

/** One setting: its JSON Schema, its default and one sentence for people. */
export interface SettingField {
  schema: Readonly<Record<string, unknown>>
  default: unknown
  description: string
  /** Never shown by the control API nor written to the log. */
  is_secret?: boolean
}

export type SettingFields<Settings> = { readonly [Name in keyof Settings]-?: SettingField }

/** The settings of one running emulator. */
export interface SettingsBoard<Settings> {
  current: () => Readonly<Settings>
  /** Merges a checked part; throws ControlError 400 with `errors: [{setting, detail}]`. */
  set: (patch: unknown) => Readonly<Settings>
  /** As `set`, and a reset comes back to it; for what was not known at the start. */
  begin: (patch: unknown) => void
  /** With secrets replaced by `[set]` or an empty string. */
  masked: () => Record<string, unknown>
  /** The values that no log line may hold. */
  secrets: () => readonly string[]
  /** Back to what the emulator was started with. */
  reset: () => void
}

export const WEBHOOK_URL_FIELD: SettingField = {
  schema: { type: 'string', pattern: '^(https?://.{1,2000})?$' },
  default: '',
  description: 'Address the notifications are sent to; empty means none are sent.',
}

/** For a vendor whose protocol names no address to come back to: the app, or the shop's own page, does. */
export const SHOP_URL_FIELD: SettingField = {
  schema: { type: 'string', pattern: '^(https?://.{1,2000})?$' },
  default: '',
  description: 'Where the buyer’s page leads back to; empty: nowhere, for the vendor is not told.',
}

const ajv = new Ajv({ allErrors: true, strict: false })
ajvFormats.default(ajv)

/** Checks the starting values and builds the board. Throws ControlError for values outside the schema. */
export function createSettings<Settings extends object>(
  fields: SettingFields<Settings>,
  initial: Partial<Settings>,
): SettingsBoard<Settings> {
  const list = Object.entries(fields) as [string, SettingField][]
  const check = ajv.compile({
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(list.map(([name, field]) => [name, field.schema])),
  })
  const defaults = Object.fromEntries(list.map(([name, field]) => [name, field.default]))
  const merge = (base: Record<string, unknown>, patch: unknown) => {
    if (!check(patch)) {
      throw new ControlError(400, 'bad_settings', 'These settings are not acceptable.', {
        errors: (check.errors ?? []).map((error) => ({
          setting: error.instancePath.slice(1) || String(error.params['additionalProperty'] ?? ''),
          detail: error.message,
        })),
      })
    }
    return { ...base, ...(patch as Record<string, unknown>) }
  }
  let started = merge(defaults, withoutUndefined(initial))
  let current = started
  const secretNames = list.filter(([, field]) => field.is_secret).map(([name]) => name)
  let secretValues: string[] = []
  const refresh = () => {
    secretValues = secretNames.map((name) => current[name]).filter((value) => typeof value === 'string')
  }
  refresh()
  return {
    current: () => current as Settings,
    set(patch) {
      current = merge(current, patch)
      refresh()
      return current as Settings
    },
    begin(patch) {
      started = merge(started, patch)
      current = merge(current, patch)
      refresh()
    },
    masked: () =>
      Object.fromEntries(
        Object.entries(current).map(([name, value]) => [
          name,
          secretNames.includes(name) ? (value === '' ? '' : '[set]') : value,
        ]),
      ),
    secrets: () => secretValues,
    reset() {
      current = started
      refresh()
    },
  }
}

function withoutUndefined(values: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}
