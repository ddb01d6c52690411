import type { Sql } from '#kernel/db'

/** The numbers of the migrations this database has. */
export async function appliedMigrations(sql: Sql): Promise<number[]> {
  const rows = await sql.selectFrom('kernel.migrations').select('number').orderBy('number').execute()
  return rows.map((row) => row.number)
}
