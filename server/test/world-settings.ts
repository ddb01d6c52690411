import { randomBytes } from 'node:crypto'
import type { AppSettings } from '../src/app.ts'
import { silentLog } from '../src/kernel/log.ts'
import { createSecretBox } from '../src/kernel/secrets.ts'

/** Made up here, valid nowhere. */
export const SHOP = { shop_id: '100500', secret_key: 'test_kopilka_world_secret_key' }
export const SANDBOX_SECRET = 'sandbox-secret-of-the-world'

/** What a test process runs with. */
export function settingsOf(database_url: string, yookassa_url: string): AppSettings {
  return {
    database_url,
    mode: 'sandbox',
    roles: ['api', 'worker'],
    host: '127.0.0.1',
    port: 0,
    base_url: '',
    cursor_key: randomBytes(32),
    // The same in every process that is started on one database.
    box: createSecretBox({ keys: [{ id: 'world', key: Buffer.alloc(32, 7) }] }),
    gateways: {
      sandbox: { secret: SANDBOX_SECRET, later_seconds: 1 },
      yookassa: { ...SHOP, base_url: `${yookassa_url}/v3`, extra_ips: ['127.0.0.1'] },
    },
    extension_folders: [],
    return_url_origins: [],
    webhook_networks: ['127.0.0.1'],
    cors_origins: [],
    trusted_proxies: [],
    anonymous_per_minute: 100_000,
    fiscal: { vat: 'none', payment_subject: 'service', payment_mode: 'full_payment' },
    version: '0.0.0-test',
    log: silentLog(),
  }
}
