import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { startEmbeddedPostgres } from '#kernel/embedded-postgres'
import { createLog, type Log } from '#kernel/log'
import { migrateJobs } from '#kernel/job-queue'
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
  const database = await startDatabase(config)
  await migrate(database.url)
  await migrateJobs(database.url)
  const box = createSecretBox({ keys })
  return {
    config,
    log,
    database,
    is_data_moved: given.data_directory !== DEFAULT_DATA_DIRECTORY,
    settings: settingsOf(config, database.url, box, log),
  }
}

/** The database of DATABASE_URL, or the embedded one, started or attached to. Not migrated. */
export async function startDatabase(config: Config): Promise<BootedDatabase> {
  if (config.database_url !== undefined) return { url: config.database_url, stop: () => Promise.resolve() }
  const data_directory = path.join(config.data_directory, 'postgres')
  const { url, stop } = await startEmbeddedPostgres({ data_directory })
  return { url, stop }
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
    extension_folders: [OWN_EXTENSIONS, ...config.extension_folders],
    return_url_origins: config.return_url_origins,
    webhook_networks: config.webhook_networks,
    cors_origins: config.cors_origins,
    trusted_proxies: config.trusted_proxies,
    anonymous_per_minute: config.anonymous_per_minute,
    metrics_token: config.metrics_token,
    spend_lanes: config.spend_lanes,
    spend_batch_max: config.spend_batch_max,
    fiscal: config.fiscal,
    paid_again: config.paid_again,
    people: peopleSettings(config),
    version: VERSION,
    log,
  }
}

const DEFAULT_DATA_DIRECTORY = './data'
/** Gateway files of whoever runs this; empty as it comes. */
const OWN_EXTENSIONS = path.resolve(import.meta.dirname, '../../../extensions/gateways')

/** Of this program; compared with package.json by a test. */
export const VERSION = '0.1.0'
