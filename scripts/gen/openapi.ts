import { setTimeout as sleep } from 'node:timers/promises'
import { silentLog } from '../../server/src/kernel/log.ts'
import { migrateJobs } from '../../server/src/kernel/job-queue.ts'
import { createSecretBox } from '../../server/src/kernel/secrets.ts'
import { startApp, type App } from '../../server/src/app.ts'

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
    return `${JSON.stringify(JSON.parse(await describe(app.http)), null, 2)}\n`
  } finally {
    await app.stop()
  }
}

/** A busy machine makes the server say that it has too much to do; that is no description of it. */
async function describe(http: App['http']): Promise<string> {
  for (let left = 30; ; left--) {
    const { statusCode, body } = await http.inject({ method: 'GET', url: '/openapi.json' })
    if (statusCode === 200) return body
    if (left === 0) throw new Error(`the server did not describe itself: ${body}`)
    await sleep(1_000)
  }
}
