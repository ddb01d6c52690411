import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { startEmbeddedPostgres } from '#kernel/embedded-postgres'
import { keepEmbeddedPostgres } from '#kernel/embedded-postgres-keeper'
import { createLog, type Log } from '#kernel/log'
import { migrate } from '#kernel/migrate'
import { createSecretBox, type SecretBox } from '#kernel/secrets'
import { loadSecretKeys } from '#kernel/secret-keys'
import { peopleSettings } from '../config-people.ts'
import { loadConfig, secretValues, type Config } from '../config.ts'
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

/**
 * Reads the settings, starts the embedded database unless DATABASE_URL is set, brings it to this version, and
 * answers what a process needs. Throws with a `code` and a `hint` when something has to be done by the owner
 * first.
 */
export async function boot(change: (config: Config) => Config = (same) => same): Promise<Boot> {
  const given = loadConfig()
  const config = change(given)
  const secrets = secretValues(config)
  const log = createLog({ level: config.log_level, secrets: () => secrets })
  mkdirSync(config.data_directory, { recursive: true })
  const keys = loadSecretKeys({ data_directory: config.data_directory, setting: config.secret_keys })
  const starting = keepDatabase(config, log)
  // Loaded while the database starts: the queue brings a library that takes its time.
  const [database, { migrateJobs }] = await Promise.all([starting, import('#kernel/job-queue')])
  await migrate(database.url)
  await migrateJobs(database.url)
  const box = createSecretBox({ keys })
  return {
    config,
    log,
    database,
    key_ids: keys.map(({ id }) => id),
    is_data_moved: given.data_directory !== DEFAULT_DATA_DIRECTORY,
    settings: settingsOf(config, database.url, box, log),
  }
}

/** As {@link startDatabase}; the embedded one is started again should it end. */
async function keepDatabase(config: Config, log: Log): Promise<BootedDatabase> {
  if (config.database_url !== undefined) return startDatabase(config)
  return keepEmbeddedPostgres(
    { data_directory: databaseDirectory(config) },
    {
      ended: (output) => log.error({ output }, 'the embedded database has ended and is started again'),
      failed: (error) => log.error({ err: error }, 'the embedded database could not be started again yet'),
    },
  )
}

/** The database of DATABASE_URL, or the embedded one, started or attached to. Not migrated. */
export async function startDatabase(config: Config): Promise<BootedDatabase> {
  if (config.database_url !== undefined) return { url: config.database_url, stop: () => Promise.resolve() }
  const { url, stop } = await startEmbeddedPostgres({ data_directory: databaseDirectory(config) })
  return { url, stop }
}

function databaseDirectory(config: Config): string {
  return path.join(config.data_directory, 'postgres')
}

function settingsOf(config: Config, database_url: string, box: SecretBox, log: Log): AppSettings {
  return {
    database_url,
    mode: config.mode,
    roles: config.roles,
    host: config.host,
    port: config.port,
    base_url: config.base_url ?? '',
    cursor_key: box.deriveKey('cursors'),
    box,
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
    people: peopleSettings(config),
    version: VERSION,
    log,
  }
}

/** Where gateway files of the owner's own are looked for. */
export function gatewayFolders(config: Pick<Config, 'extension_folders'>): string[] {
  return [OWN_EXTENSIONS, ...config.extension_folders]
}

const DEFAULT_DATA_DIRECTORY = './data'
/** Gateway files of whoever runs this; empty as it comes. */
const OWN_EXTENSIONS = path.resolve(import.meta.dirname, '../../../extensions/gateways')

/** Of this program; compared with package.json by a test. */
export const VERSION = '0.1.0'
