import { shutdownOnSignals } from '#http/shutdown'
import { createSetupToken, isSetUp } from '#modules/identity'
import { startApp, type App } from '../app.ts'
import type { Boot } from './boot.ts'

/** Runs the server over a database that is ready, until it is told to stop. */
export async function runServer(booted: Boot): Promise<void> {
  const app = await startApp(booted.settings)
  endWell(booted, app)
  process.stdout.write(await welcome(booted, app))
}

/** Ends the process well on a signal: requests finish, workers rest, the database is closed last. */
export function endWell(
  { database, log, config }: Boot,
  app: App,
  also: () => Promise<void> = async () => undefined,
): void {
  shutdownOnSignals({
    log,
    timeout_ms: config.shutdown_timeout_seconds * 1000,
    stop: async () => {
      await also()
      await app.stop()
      await database.stop()
    },
  })
}

async function welcome({ config }: Boot, app: App): Promise<string> {
  const lines = [
    `Kopilka is running at ${app.base_url} (${config.mode}).`,
    `  API documentation  ${app.base_url}/docs`,
    `  Admin              ${app.base_url}/admin/`,
    `  Gateways           ${
      app.payments.gateways
        .list()
        .map(({ gateway }) => gateway.id)
        .join(', ') || 'none is set up'
    }`,
  ]
  if (!(await isSetUp(app.db, app.kit.clock, config.mode))) {
    const { token } = await app.db.transact((tx) => createSetupToken(tx, app.kit.clock))
    lines.push(
      '',
      'Nobody has a key yet. Open this once, within 24 hours, for the first admin key:',
      `  ${app.base_url}/setup?token=${token}`,
      'Or make one here: npm run kopilka -- keys create "my server"',
    )
  }
  return `${lines.join('\n')}\n`
}
