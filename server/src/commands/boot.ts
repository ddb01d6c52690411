import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { startEmbeddedPostgres } from '#kernel/embedded-postgres'
import { keepEmbeddedPostgres } from '#kernel/embedded-postgres-keeper'
import { isDatabaseUnavailable } from '#kernel/errors'
import type { Log } from '#kernel/log'
import { DATA_DIRECTORY, databaseDirectory, embeddedDataDirectory } from '../config-database.ts'
import type { Config } from '../config.ts'
import type { AppSettings } from '../app.ts'

/** A database that is running and migrated. */
export interface BootedDatabase {
  url: string
  stop: () => Promise<void>
}

/** What every command starts from. */
export interface Boot {
  config: Config
  log: Log
  settings: AppSettings
  database: BootedDatabase
  /** Of the keys that seal secrets, newest first. */
  key_ids: readonly string[]
  /** Whether the owner chose where the data lie. */
  is_data_moved: boolean
}

/** What a command starts differently from the server. */
export interface BootOptions {
  /** Where its data lie within the data directory; default: right there. */
  subfolder?: string
  change?: (config: Config) => Config
  /** Answers while the database is still brought to this version; `settings.migrated` tells when it is. */
  goes_ahead?: boolean
}

/**
 * Starts the embedded database unless DATABASE_URL is set, reads the settings meanwhile, brings the database
 * to this version, and answers what a process needs. Throws with a `code` and a `hint` when something has to
 * be done by the owner first.
 */
export async function boot({
  subfolder = '',
  change = (same) => same,
  goes_ahead = false,
}: BootOptions = {}): Promise<Boot> {
  const logging = Promise.withResolvers<Log>()
  const starting = keepEmbedded(subfolder, logging.promise)
  // It fails only where it is awaited.
  starting?.catch(() => undefined)
  await databaseIsOnItsWay()
  const parts = await loadParts()
  const given = parts.loadConfig()
  const config = change({ ...given, data_directory: path.join(given.data_directory, subfolder) })
  const secrets = parts.secretValues(config)
  const log = parts.createLog({ level: config.log_level, secrets: () => secrets })
  logging.resolve(log)
  const database = (await starting) ?? (await startDatabase(config))
  mkdirSync(config.data_directory, { recursive: true })
  const keys = parts.loadSecretKeys({ data_directory: config.data_directory, setting: config.secret_keys })
  // Two schemas that know nothing of each other.
  const migrated = {
    books: parts.migrate(database.url).catch(sayUnreachable),
    jobs: parts.migrateJobs(database.url).catch(sayUnreachable),
  }
  if (!goes_ahead) await Promise.all(Object.values(migrated))
  // They fail where they are awaited.
  for (const one of Object.values(migrated)) one.catch(() => undefined)
  const box = parts.createSecretBox({ keys })
  return {
    config,
    log,
    database,
    key_ids: keys.map(({ id }) => id),
    is_data_moved: given.data_directory !== DATA_DIRECTORY.fallback,
    settings: settingsOf(config, parts.peopleSettings(config), {
      database_url: database.url,
      migrated,
      box,
      log,
    }),
  }
}

/**
 * Until the database works in processes of its own: what is loaded before that would only delay it. The way
 * there waits for nothing, so one turn of the event loop is enough.
 */
export async function databaseIsOnItsWay(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

/** The first who asks the database finds that it is not there. */
function sayUnreachable(error: unknown): never {
  if (!isDatabaseUnavailable(error)) throw error
  throw new DatabaseUnreachable(error)
}

/** No database answers at the address of DATABASE_URL; says so without its password. */
class DatabaseUnreachable extends Error {
  readonly code = 'database_unreachable'
  readonly hint =
    'Start it, or correct DATABASE_URL and what it allows in. Without DATABASE_URL the embedded one is used.'
  constructor(cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    super(`the database does not answer: ${reason}`, { cause })
    this.name = 'DatabaseUnreachable'
  }
}

/** All that is not needed to start a database. */
async function loadParts() {
  const [{ loadConfig, secretValues }, { peopleSettings }, { createLog }, { migrate }] = await Promise.all([
    import('../config.ts'),
    import('../config-people.ts'),
    import('#kernel/log'),
    import('#kernel/migrate'),
  ])
  const [{ migrateJobs }, { createSecretBox }, { loadSecretKeys }] = await Promise.all([
    import('#kernel/job-queue'),
    import('#kernel/secrets'),
    import('#kernel/secret-keys'),
  ])
  return {
    loadConfig,
    secretValues,
    peopleSettings,
    createLog,
    migrate,
    migrateJobs,
    createSecretBox,
    loadSecretKeys,
  }
}

/** The embedded database, started again should it end; `undefined` when the environment names another. */
function keepEmbedded(subfolder: string, logging: Promise<Log>): Promise<BootedDatabase> | undefined {
  const data_directory = embeddedDataDirectory()
  if (data_directory === undefined) return undefined
  const folder = path.join(data_directory, subfolder)
  const tell = (facts: object, message: string): void => void logging.then((log) => log.error(facts, message))
  return keepEmbeddedPostgres(
    { data_directory: databaseDirectory(folder) },
    {
      ended: (output) => tell({ output }, 'the embedded database has ended and is started again'),
      failed: (error) => tell({ err: error }, 'the embedded database could not be started again yet'),
    },
  )
}

/** The database of DATABASE_URL, or the embedded one, started or attached to. Not migrated. */
export async function startDatabase(config: Config): Promise<BootedDatabase> {
  if (config.database_url !== undefined) return { url: config.database_url, stop: () => Promise.resolve() }
  const data_directory = databaseDirectory(config.data_directory)
  const { url, stop } = await startEmbeddedPostgres({ data_directory })
  return { url, stop }
}

function settingsOf(
  config: Config,
  people: AppSettings['people'],
  made: Pick<AppSettings, 'database_url' | 'migrated' | 'box' | 'log'>,
): AppSettings {
  return {
    ...made,
    mode: config.mode,
    roles: config.roles,
    host: config.host,
    port: config.port,
    base_url: config.base_url ?? '',
    cursor_key: made.box.deriveKey('cursors'),
    gateways: config.gateways,
    gateway_order: config.gateway_order,
    extension_folders: gatewayFolders(config),
    return_url_origins: config.return_url_origins,
    webhook_networks: config.webhook_networks,
    cors_origins: config.cors_origins,
    trusted_proxies: config.trusted_proxies,
    anonymous_per_minute: config.anonymous_per_minute,
    limits: { store: config.limits, redis_url: config.redis_url },
    metrics_token: config.metrics_token,
    verify_seconds: config.verify_seconds,
    spend_lanes: config.spend_lanes,
    spend_batch_max: config.spend_batch_max,
    fiscal: config.fiscal,
    paid_again: config.paid_again,
    people,
    version: VERSION,
  }
}

/** Where gateway files of the owner's own are looked for. */
export function gatewayFolders(config: Pick<Config, 'extension_folders'>): string[] {
  return [OWN_EXTENSIONS, ...config.extension_folders]
}

/** Gateway files of whoever runs this; empty as it comes. */
const OWN_EXTENSIONS = path.resolve(import.meta.dirname, '../../../extensions/gateways')

/** Of this program; compared with package.json by a test. */
export const VERSION = '0.1.0'
