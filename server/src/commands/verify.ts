import { databaseClock } from '#kernel/clock'
import { createDb } from '#kernel/db'
import { allInvariants, verifyBooks } from '#modules/admin'
import { boot } from './boot.ts'

/** Runs every invariant and names the rows that break one. */
export async function verifyCommand(): Promise<void> {
  const { database } = await boot()
  const db = createDb({ url: database.url, max: 2 })
  try {
    const { ok, findings } = await verifyBooks(db, databaseClock())
    for (const { invariant, detail } of findings) process.stdout.write(`${invariant}: ${detail}\n`)
    process.stdout.write(
      ok ? `All ${allInvariants().length} invariants hold.\n` : `${findings.length} findings.\n`,
    )
    if (!ok) process.exitCode = 1
  } finally {
    await db.close()
    await database.stop()
  }
}
