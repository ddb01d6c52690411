import path from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** The settings that say where the database is: its start is the first thing a process does. */
export const DATA_DIRECTORY = { env: 'KOPILKA_DATA_DIR', fallback: './data' } as const
export const DATABASE_URL = 'DATABASE_URL'

/**
 * The data directory as the environment has it when the embedded database is used, `undefined` when another
 * one is named. Needs no other setting, so that it can be told before those are read.
 */
export function embeddedDataDirectory(env: Environment = process.env): string | undefined {
  const is_set = (variable: string): boolean => env[variable] !== undefined && env[variable] !== ''
  if (is_set(DATABASE_URL) || is_set(`${DATABASE_URL}_FILE`)) return undefined
  return env[DATA_DIRECTORY.env] || DATA_DIRECTORY.fallback
}

/** Where the embedded database lies in a data directory. */
export function databaseDirectory(data_directory: string): string {
  return path.join(data_directory, 'postgres')
}
