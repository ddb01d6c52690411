import type { Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type SavedMethodRow = Selectable<Database['payments.saved_methods']>

export async function upsertMethod(
  tx: Tx,
  method: Omit<SavedMethodRow, 'removed_at'>,
): Promise<{ id: string }> {
  return tx
    .insertInto('payments.saved_methods')
    .values(method)
    .onConflict((conflict) =>
      conflict.columns(['gateway', 'external_id', 'customer_id']).doUpdateSet({
        title: method.title,
        expires_at: method.expires_at,
        consented_at: method.consented_at,
        removed_at: null,
      }),
    )
    .returning('id')
    .executeTakeFirstOrThrow()
}

export function methodsOfCustomer(sql: Sql, customer_id: string): Promise<SavedMethodRow[]> {
  return sql
    .selectFrom('payments.saved_methods')
    .selectAll()
    .where('customer_id', '=', customer_id)
    .where('removed_at', 'is', null)
    .orderBy('created_at', 'desc')
    .limit(50)
    .execute()
}

export function findMethod(sql: Sql, id: string): Promise<SavedMethodRow | undefined> {
  return sql.selectFrom('payments.saved_methods').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function markRemoved(tx: Tx, id: string, removed_at: Date): Promise<void> {
  await tx
    .updateTable('payments.saved_methods')
    .set({ removed_at })
    .where('id', '=', id)
    .where('removed_at', 'is', null)
    .execute()
}
