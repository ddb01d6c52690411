import { readFileSync } from 'node:fs'
import { addressCheck, isAddressEntry } from '@kopilka/extension'
import { z } from 'zod'
import { PAYMENT_SETTINGS, sayRules } from './config-payments.ts'
import type { FiscalSettings } from '#modules/orders'
import { DATA_DIRECTORY, DATABASE_URL } from './config-database.ts'
import { FISCAL_SETTINGS, takeFiscal } from './config-fiscal.ts'
import { aliasesInUse, withOwnNames } from './config-aliases.ts'
import { PEOPLE_SETTINGS, peopleContradictions, peopleSecrets } from './config-people.ts'

/** One setting: where it comes from, what it may be, what it is for. */
export interface Setting<T> {
  env: string
  schema: z.ZodType<T>
  /** One sentence for the owner. */
  about: string
  is_secret?: boolean
}

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
)
const none = (): string[] => []

function setting<T>(env: string, schema: z.ZodType<T>, about: string, is_secret = false): Setting<T> {
  return { env, schema, about, is_secret }
}

/**
 * `https://shop.example`: a scheme, a host and maybe a port, nothing behind. `*` and `null` are no origins.
 */
const origins = list
  .pipe(z.array(z.string().refine(isOrigin, 'must be an origin such as https://shop.example')))
  .default(none)

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min).max(max))

/** Every setting there is. An absent variable takes its default; none is needed to try Kopilka. */
const SETTINGS = {
  port: setting('PORT', whole(0, 65_535).default(8080), 'Port of the HTTP server.'),
  host: setting(
    'HOST',
    z.string().min(1).default('127.0.0.1'),
    'Address it listens on; 0.0.0.0 is every network card.',
  ),
  data_directory: setting(
    DATA_DIRECTORY.env,
    z.string().min(1).default(DATA_DIRECTORY.fallback),
    'Where the embedded database, its passwords and the secret keys lie.',
  ),
  database_url: setting(
    DATABASE_URL,
    z.url({ protocol: /^postgres(ql)?$/ }).optional(),
    'An own PostgreSQL, 15 or newer, instead of the embedded one.',
    true,
  ),
  mode: setting(
    'KOPILKA_MODE',
    z.enum(['sandbox', 'live']).default('sandbox'),
    'sandbox takes only test credentials of gateways, live only real ones.',
  ),
  roles: setting(
    'KOPILKA_ROLES',
    list.pipe(z.array(z.enum(['api', 'worker'])).min(1)).default(['api', 'worker']),
    'What this process does, by commas: api answers requests, worker does the work in the background.',
  ),
  base_url: setting(
    'KOPILKA_BASE_URL',
    z
      .url({ protocol: /^https?$/ })
      .transform((url) => url.replace(/\/+$/, ''))
      .optional(),
    'Where the world reaches this server; vendors send their notifications there.',
  ),
  secret_keys: setting(
    'KOPILKA_SECRET_KEYS',
    z.string().optional(),
    'Keys that seal the secrets in the database, instead of the file secrets.key.',
    true,
  ),
  cors_origins: setting('KOPILKA_CORS_ORIGINS', origins, 'Origins whose pages may call the API, by commas.'),
  trusted_proxies: setting(
    'KOPILKA_TRUSTED_PROXIES',
    list
      .pipe(z.array(z.string().refine(isAddressEntry, 'must be an address or a network such as 10.0.0.0/8')))
      .default(none),
    'Addresses and networks of proxies whose X-Forwarded-For is believed, by commas.',
  ),
  return_url_origins: setting(
    'KOPILKA_RETURN_URL_ORIGINS',
    origins,
    'Origins buyers may be sent back to after paying; empty allows any https address.',
  ),
  webhook_networks: setting(
    'KOPILKA_WEBHOOK_NETWORKS',
    list
      .pipe(z.array(z.string().refine(isAddressEntry, 'must be an address or a network such as 10.0.0.0/8')))
      .default(none),
    'Private addresses and networks that outgoing webhooks may reach, also by plain http, by commas.',
  ),
  anonymous_per_minute: setting(
    'KOPILKA_ANONYMOUS_PER_MINUTE',
    whole(1, 10_000_000).default(100),
    'Requests a minute for one address without a key.',
  ),
  limits: setting(
    'KOPILKA_LIMITS',
    z.enum(['database', 'memory']).default('database'),
    'Where attempts to sign in, to reset and to buy are counted: memory is for one process only.',
  ),
  redis_url: setting(
    'KOPILKA_REDIS_URL',
    z.url({ protocol: /^rediss?$/ }).optional(),
    'With it they are counted in Redis, and as KOPILKA_LIMITS says while that is away.',
    true,
  ),
  metrics_token: setting(
    'KOPILKA_METRICS_TOKEN',
    z.string().min(16).optional(),
    'With it /metrics may be read from anywhere; without it only from this machine and private networks.',
    true,
  ),
  verify_seconds: setting(
    'KOPILKA_VERIFY_SECONDS',
    whole(0, 86_400).optional(),
    'How often the books and the audit log are verified, 45 unless said otherwise; 0 is never.',
  ),
  spend_lanes: setting(
    'KOPILKA_SPEND_LANES',
    whole(1, 16).optional(),
    'Database connections that spend; one is enough on two cores, more help only with more cores.',
  ),
  spend_batch_max: setting(
    'KOPILKA_SPEND_BATCH_MAX',
    whole(1, 1000).optional(),
    'Spends in one commit at most.',
  ),
  log_level: setting(
    'KOPILKA_LOG_LEVEL',
    z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    'How much is logged.',
  ),
  shutdown_timeout_seconds: setting(
    'KOPILKA_SHUTDOWN_TIMEOUT_SECONDS',
    whole(1, 300).default(25),
    'How long a stop may take before the process ends in any case.',
  ),
  extension_folders: setting(
    'KOPILKA_EXTENSIONS',
    list.default(none),
    'Folders with gateway files of your own, by commas, beside extensions/gateways.',
  ),
  ...PAYMENT_SETTINGS,
  ...FISCAL_SETTINGS,
  ...PEOPLE_SETTINGS,
} as const

type Values = { [Name in keyof typeof SETTINGS]: z.output<(typeof SETTINGS)[Name]['schema']> }

/** What a process runs with. */
export interface Config extends Omit<Values, keyof typeof FISCAL_SETTINGS> {
  fiscal: FiscalSettings
  /** Settings of gateways by gateway and field: KOPILKA_GATEWAY_YOOKASSA_SHOP_ID is yookassa, shop_id. */
  gateways: Record<string, Record<string, unknown>>
}

/** One setting as people look at it; secrets are masked. */
export interface ShownSetting {
  name: string
  env: string
  about: string
  value: string
  is_default: boolean
}

/** The settings are wrong; says each problem and what to do. */
export class ConfigRefused extends Error {
  readonly code = 'config_refused'
  readonly hint: string
  constructor(problems: readonly string[]) {
    super(`some settings cannot be used:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.name = 'ConfigRefused'
    this.hint =
      'Change or remove these environment variables; `npm run kopilka -- doctor` explains every one.'
  }
}

export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads every setting. A secret may also lie in a file whose path is in the variable with `_FILE` behind its
 * name. Throws {@link ConfigRefused} with all problems at once; no problem shows a secret.
 */
export function loadConfig(own: Environment = process.env): Config {
  const { env, problems } = withOwnNames(own)
  const values: Record<string, unknown> = {}
  for (const [name, one] of Object.entries<Setting<unknown>>(SETTINGS)) {
    const found = readSetting(env, one)
    if ('value' in found) values[name] = found.value
    else problems.push(`${one.env}: ${found.problem}. ${one.about}`)
  }
  const gateways = gatewaySettings(env, problems)
  if (problems.length === 0) problems.push(...contradictions(values as Values))
  if (problems.length > 0) throw new ConfigRefused(problems)
  const { rest, fiscal } = takeFiscal(values as Values)
  return { ...rest, fiscal, gateways }
}

/** Every setting with its present value, secrets masked; for `doctor` and the documentation. */
export function showSettings(env: Environment = process.env): ShownSetting[] {
  return Object.entries<Setting<unknown>>(SETTINGS).map(([name, one]) => {
    const { env: variable, about, is_secret = false } = one
    const is_default = !isSet(env, variable) && !(is_secret && isSet(env, `${variable}_FILE`))
    const found = readSetting(env, one)
    const text = 'value' in found ? shown(found.value) : 'cannot be used'
    return { name, env: variable, about, value: is_secret && !is_default ? masked(text) : text, is_default }
  })
}

/**
 * Variables that look like ours and are none: a slip of the pen would otherwise go unseen. The variables that
 * containers get from their surroundings (`KOPILKA_PORT_8080_TCP`, `KOPILKA_SERVICE_HOST`) are left out.
 */
export function unknownSettings(env: Environment = process.env): string[] {
  const known = new Set(
    Object.values<Setting<unknown>>(SETTINGS).flatMap((one) => [one.env, `${one.env}_FILE`]),
  )
  return Object.keys(env)
    .filter((variable) => variable.startsWith('KOPILKA_') && !known.has(variable) && !GATEWAY.test(variable))
    .filter((variable) => !/_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP)/.test(variable))
    .filter((variable) => !/^(tcp|udp):\/\//.test(env[variable] ?? ''))
    .toSorted()
}

/** Settings by the names a product gave them, with ours. */
export function productSettings(env: Environment = process.env): { alias: string; env: string }[] {
  return aliasesInUse(env)
}

/** Every secret among the settings, by value: the log hides them wherever they would stand. */
export function secretValues(config: Config): string[] {
  const password =
    config.database_url === undefined ? '' : decodeURIComponent(new URL(config.database_url).password)
  const fields = Object.values(config.gateways).flatMap((fields) => Object.entries(fields))
  const gateway_secrets = fields.flatMap(([field, value]) => (isSecretField(field) ? [String(value)] : []))
  const redis = config.redis_url === undefined ? '' : decodeURIComponent(new URL(config.redis_url).password)
  const single = [password, redis, config.metrics_token ?? '', config.secret_keys ?? '']
  return [...single, ...peopleSecrets(config), ...gateway_secrets].filter((text) => text !== '')
}

/** Whether a gateway's setting of this name holds a secret. */
export function isSecretField(field: string): boolean {
  return /secret|key|token|password/i.test(field)
}

function readSetting(
  env: Environment,
  { env: variable, schema, is_secret }: Setting<unknown>,
): { value: unknown } | { problem: string } {
  const found = is_secret ? readSecret(env, variable) : { text: env[variable] }
  if ('problem' in found) return found
  const result = schema.safeParse(found.text === '' ? undefined : found.text)
  if (result.success) return { value: result.data }
  return { problem: result.error.issues.map((issue) => issue.message).join(', ') }
}

/** The variable, or the content of the file its twin names. */
function readSecret(env: Environment, variable: string): { text: string | undefined } | { problem: string } {
  const file = env[`${variable}_FILE`]
  if (file === undefined || file === '') return { text: env[variable] }
  if (isSet(env, variable)) return { problem: `is given twice, also by ${variable}_FILE` }
  try {
    return { text: readFileSync(file, 'utf8').trim() }
  } catch (error) {
    return {
      problem: `the file ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
    }
  }
}

const isLoopback = addressCheck(['127.0.0.0/8', '::1'])

/** What is allowed by itself and wrong together. */
function contradictions(values: Values): string[] {
  const problems: string[] = []
  if (values.mode === 'live' && !(values.base_url ?? '').startsWith('https://')) {
    problems.push(
      'KOPILKA_BASE_URL: a live installation needs its https address. Vendors send notifications there.',
    )
  }
  const opensLoopback = (entry: string): boolean =>
    ['127.0.0.1', '::1'].some(addressCheck([entry])) || isLoopback(entry.replace(/\/.*/, ''))
  if (values.mode === 'live' && values.webhook_networks.some(opensLoopback)) {
    problems.push('KOPILKA_WEBHOOK_NETWORKS: this machine itself is reached in the sandbox only.')
  }
  problems.push(...peopleContradictions(values))
  return problems
}

function isOrigin(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.origin === text
}

function isSet(env: Environment, variable: string): boolean {
  return env[variable] !== undefined && env[variable] !== ''
}

function shown(value: unknown): string {
  if (value === undefined) return 'not set'
  if (Array.isArray(value)) return value.map(sayRules).join(', ') || 'none'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Of an address everything but the password; of anything else nothing. */
function masked(text: string): string {
  const url = URL.parse(text)
  if (!url || url.host === '') return '••••••'
  if (url.password !== '') url.password = '______'
  return url.href.replace(':______@', ':••••••@')
}

const GATEWAY = /^KOPILKA_GATEWAY_([A-Z0-9]+(?:__[A-Z0-9]+)*)_([A-Z0-9_]+)$/

/**
 * KOPILKA_GATEWAY_<ID>_<FIELD>: a dash in the gateway's id is written as two underscores. Numbers, true and
 * false are read as such, unless the field's name says that it is a text of digits; a text with commas in
 * brackets is a list.
 */
function gatewaySettings(env: Environment, problems: string[]): Record<string, Record<string, unknown>> {
  const gateways: Record<string, Record<string, unknown>> = {}
  for (const variable of Object.keys(env).toSorted()) {
    const match = GATEWAY.exec(variable.replace(/_FILE$/, ''))
    if (!match || !isSet(env, variable)) continue
    const [name, id = '', field = ''] = match
    const found = readSecret(env, name)
    if ('problem' in found) problems.push(`${name}: ${found.problem}. A setting of a gateway.`)
    else if (found.text) {
      const gateway = id.toLowerCase().replaceAll('__', '-')
      gateways[gateway] = { ...gateways[gateway], [field.toLowerCase()]: gatewayValue(field, found.text) }
    }
  }
  return gateways
}

function gatewayValue(field: string, text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^\[.*\]$/.test(text))
    return text
      .slice(1, -1)
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
  const is_text = /(_ID|_KEY|SECRET|TOKEN|PASSWORD|LOGIN|URL)(_?\d)?$/.test(field)
  return !is_text && /^\d{1,9}$/.test(text) ? Number(text) : text
}
