import { mkdirSync } from 'node:fs'
import { migrateJobs } from '#kernel/job-queue'
import { migrate } from '#kernel/migrate'
import { loadConfig } from '../config.ts'
import { startDatabase } from './boot.ts'

/**
 * Brings the database to this version and says what was done. A start does the same by itself; this is for
 * those who let the server work as a role that may not change tables. Repeatable. Throws MigrationRefused
 * when the database belongs to a newer version.
 */
export async function migrateCommand(): Promise<void> {
  const config = loadConfig()
  mkdirSync(config.data_directory, { recursive: true })
  const database = await startDatabase(config)
  try {
    const { applied } = await migrate(database.url)
    await migrateJobs(database.url)
    for (const name of applied) process.stdout.write(`applied ${name}\n`)
    const count = applied.length
    process.stdout.write(
      count === 0 ? 'The database is up to date.\n' : `The database is up to date: ${count} applied.\n`,
    )
  } finally {
    await database.stop()
  }
}
