import type { Config } from '../config.ts'
import { boot, databaseIsOnItsWay } from './boot.ts'

/** Runs the server with a seeded Screph shop that is paid through emulated vendors. */
export async function demo(): Promise<void> {
  const booting = boot({ subfolder: 'demo', change: asDemo, goes_ahead: true })
  const [booted, { runDemo, startWorld }] = await Promise.all([booting, loadShop()])
  // The vendors are loaded while the tables are made: before, they would only keep the database waiting.
  await runDemo(booted, await startWorld())
}

function asDemo(config: Config): Config {
  return {
    ...config,
    mode: 'sandbox',
    // The tour is what a newcomer reads; requests are told when a level is asked for.
    log_level: config.log_level === 'info' ? 'warn' : config.log_level,
  }
}

/** The database starts in processes of its own; the rest of the program is loaded meanwhile. */
async function loadShop() {
  await databaseIsOnItsWay()
  const shop = await import('./demo-shop.ts')
  const { loadAhead } = await import('../app.ts')
  await loadAhead()
  return shop
}
