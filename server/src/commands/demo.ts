import path from 'node:path'
import type { Config } from '../config.ts'
import { boot } from './boot.ts'

/** Runs the server with a seeded Screph shop that is paid through emulated vendors. */
export async function demo(): Promise<void> {
  const [booted, { runDemo, world }] = await Promise.all([boot(asDemo), loadShop()])
  await runDemo(booted, world)
}

function asDemo(config: Config): Config {
  return {
    ...config,
    mode: 'sandbox',
    // The tour is what a newcomer reads; requests are told when a level is asked for.
    log_level: config.log_level === 'info' ? 'warn' : config.log_level,
    data_directory: path.join(config.data_directory, 'demo'),
  }
}

/** The database starts in processes of its own; the rest of the program is loaded meanwhile. */
async function loadShop() {
  const { runDemo, startWorld } = await import('./demo-shop.ts')
  return { runDemo, world: await startWorld() }
}
