import type { Selectable } from 'kysely'
import type { Database, Sql, Tx } from '#kernel/db'

export type SavedMethodRow = Selectable<Database['payments.saved_methods']>

export async function upsertMethod(
  tx: Tx,
  method: Omit<SavedMethodRow, 'removed_at' | 'forgotten_at' | 'next_forget_at' | 'forget_attempts'>,
): Promise<{ id: string }> {
  return tx
    .insertInto('payments.saved_methods')
    .values(method)
    .onConflict((conflict) =>
      conflict.columns(['gateway', 'external_id', 'customer_id']).doUpdateSet({
        title: method.title,
        expires_at: method.expires_at,
        consented_at: method.consented_at,
        consent_text: method.consent_text,
        consent_locale: method.consent_locale,
        removed_at: null,
        forgotten_at: null,
        next_forget_at: null,
        forget_attempts: 0,
      }),
    )
    .returning('id')
    .executeTakeFirstOrThrow()
}

/** As {@link upsertMethod}, but leaves what is there, removed or not, as it is; then undefined. */
export async function insertMethod(
  tx: Tx,
  method: Parameters<typeof upsertMethod>[1],
): Promise<{ id: string } | undefined> {
  return tx
    .insertInto('payments.saved_methods')
    .values(method)
    .onConflict((conflict) => conflict.columns(['gateway', 'external_id', 'customer_id']).doNothing())
    .returning('id')
    .executeTakeFirst()
}

/** Ends every consent to a method its vendor no longer has; answers how many there were. */
export async function markGone(
  tx: Tx,
  method: { gateway: string; external_id: string },
  gone_at: Date,
): Promise<number> {
  const { numUpdatedRows } = await tx
    .updateTable('payments.saved_methods')
    .set((eb) => ({
      removed_at: eb.fn.coalesce('removed_at', eb.val(gone_at)),
      forgotten_at: gone_at,
      next_forget_at: null,
    }))
    .where('gateway', '=', method.gateway)
    .where('external_id', '=', method.external_id)
    .where('forgotten_at', 'is', null)
    .executeTakeFirst()
  return Number(numUpdatedRows)
}

/** Those that are kept, and those their vendors have not let go yet. */
export function methodsOfCustomer(sql: Sql, customer_id: string): Promise<SavedMethodRow[]> {
  return sql
    .selectFrom('payments.saved_methods')
    .selectAll()
    .where('customer_id', '=', customer_id)
    .where('forgotten_at', 'is', null)
    .orderBy('created_at', 'desc')
    .limit(50)
    .execute()
}

export function findMethod(sql: Sql, id: string): Promise<SavedMethodRow | undefined> {
  return sql.selectFrom('payments.saved_methods').selectAll().where('id', '=', id).executeTakeFirst()
}

/**
 * Holds a method as it is until the transaction ends: whoever removes it waits. Undefined when there is none.
 */
export function shareMethod(tx: Tx, id: string): Promise<Pick<SavedMethodRow, 'removed_at'> | undefined> {
  return tx
    .selectFrom('payments.saved_methods')
    .select('removed_at')
    .where('id', '=', id)
    .forShare()
    .executeTakeFirst()
}

export async function markRemoved(tx: Tx, id: string, removed_at: Date): Promise<void> {
  await tx
    .updateTable('payments.saved_methods')
    .set({ removed_at, next_forget_at: removed_at })
    .where('id', '=', id)
    .where('removed_at', 'is', null)
    .execute()
}

/** Takes removed methods whose vendors are to be asked now, and puts the next time off. */
export async function claimForgetting(
  tx: Tx,
  now: Date,
  again_at: Date,
  limit: number,
): Promise<SavedMethodRow[]> {
  const rows = await tx
    .updateTable('payments.saved_methods')
    .set((eb) => ({ next_forget_at: again_at, forget_attempts: eb('forget_attempts', '+', 1) }))
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('payments.saved_methods')
        .select('id')
        .where('next_forget_at', '<=', now)
        .orderBy('next_forget_at')
        .limit(limit)
        .forUpdate()
        .skipLocked(),
    )
    .returningAll()
    .execute()
  return rows
}

/** Whether a charge of this method was agreed on and has no answer yet. */
export async function hasOpenCharge(sql: Sql, id: string): Promise<boolean> {
  const row = await sql
    .selectFrom('payments.payments')
    .select('id')
    .where('saved_method_id', '=', id)
    .where('status', 'in', ['pending', 'unknown'])
    .where('external_id', 'is', null)
    .where('open_asks', '>', 0)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** Ends a removal; a method that was agreed to anew meanwhile stays as it is. */
export async function markForgotten(tx: Tx, id: string, forgotten_at: Date): Promise<void> {
  await tx
    .updateTable('payments.saved_methods')
    .set({ forgotten_at, next_forget_at: null })
    .where('id', '=', id)
    .where('removed_at', 'is not', null)
    .execute()
}

export async function setNextForget(tx: Tx, id: string, next_forget_at: Date | null): Promise<void> {
  await tx
    .updateTable('payments.saved_methods')
    .set({ next_forget_at })
    .where('id', '=', id)
    .where('removed_at', 'is not', null)
    .where('forgotten_at', 'is', null)
    .execute()
}
