import type { Sql, Tx } from '#kernel/db'

export interface UnitRow {
  code: string
  scale: bigint
  name: string
  translations: Record<string, string>
  kind: 'counted' | 'money'
  is_debt_allowed: boolean
  created_at: Date
}

const columns = ['code', 'scale', 'name', 'translations', 'kind', 'is_debt_allowed', 'created_at'] as const

export async function findUnits(sql: Sql, codes: readonly string[]): Promise<UnitRow[]> {
  if (codes.length === 0) return []
  const rows = await sql.selectFrom('ledger.units').select(columns).where('code', 'in', codes).execute()
  return rows as UnitRow[]
}

export async function listUnits(sql: Sql, after: string, limit: number): Promise<UnitRow[]> {
  const rows = await sql
    .selectFrom('ledger.units')
    .select(columns)
    .where('code', '>', after)
    .orderBy('code')
    .limit(limit)
    .execute()
  return rows as UnitRow[]
}

/** True when the unit is new. */
export async function insertUnit(tx: Tx, unit: UnitRow): Promise<boolean> {
  const row = await tx
    .insertInto('ledger.units')
    .values(unit)
    .onConflict((conflict) => conflict.doNothing())
    .returning('code')
    .executeTakeFirst()
  return row !== undefined
}

export async function updateUnit(
  tx: Tx,
  code: string,
  facts: Partial<Pick<UnitRow, 'name' | 'translations' | 'is_debt_allowed'>>,
): Promise<UnitRow | undefined> {
  const row = await tx
    .updateTable('ledger.units')
    .set(facts)
    .where('code', '=', code)
    .returning(columns)
    .executeTakeFirst()
  return row as UnitRow | undefined
}
