import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startEmbeddedPostgres } from '../../server/src/kernel/embedded-postgres.ts'
import { migrate } from '../../server/src/kernel/migrate.ts'

/**
 * Lends `work` the address of an embedded PostgreSQL with every migration applied, in a temporary folder,
 * and removes it again. Generated files must not depend on which database a developer happens to run.
 */
export async function withThrowawayDatabase<T>(work: (url: string) => Promise<T>): Promise<T> {
  const data_directory = mkdtempSync(path.join(tmpdir(), 'kopilka-gen-'))
  try {
    const server = await startEmbeddedPostgres({
      data_directory,
      flags: ['fsync=off', 'synchronous_commit=off'],
    })
    try {
      await migrate(server.url)
      return await work(server.url)
    } finally {
      await server.stop()
    }
  } finally {
    rmSync(data_directory, { recursive: true, force: true })
  }
}
