import { silentLog } from '../../server/src/kernel/log.ts'
import { migrateJobs } from '../../server/src/kernel/job-queue.ts'
import { createSecretBox } from '../../server/src/kernel/secrets.ts'
import { startApp, type App } from '../../server/src/app.ts'

/** A server on a busy machine may have no time at first; so often it is asked. */
const ATTEMPTS_MAX = 40

/**
 * The OpenAPI description as a running server answers it, with no gateway set up and nothing of this machine.
 */
export async function generateOpenApi(url: string): Promise<string> {
  await migrateJobs(url)
  const app = await startApp({
    database_url: url,
    mode: 'sandbox',
    roles: [],
    host: '127.0.0.1',
    port: 0,
    base_url: '',
    cursor_key: Buffer.alloc(32, 1),
    box: createSecretBox({ keys: [{ id: 'none', key: Buffer.alloc(32, 1) }] }),
    gateways: {},
    extension_folders: [],
    return_url_origins: [],
    webhook_networks: [],
    cors_origins: [],
    trusted_proxies: [],
    anonymous_per_minute: 100,
    fiscal: { vat: 'none', payment_subject: 'service', payment_mode: 'full_payment' },
    version: '0.1.0',
    log: silentLog(),
  })
  try {
    return `${JSON.stringify(JSON.parse(await read(app)), null, 2)}\n`
  } finally {
    await app.stop()
  }
}

/** The description itself: what else the server may answer is no description. Throws when it never comes. */
async function read(app: App): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const { statusCode, body } = await app.http.inject({ method: 'GET', url: '/openapi.json' })
    if (statusCode === 200) return body
    if (statusCode !== 503 || attempt >= ATTEMPTS_MAX) throw new Error(`no description: ${body}`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}
