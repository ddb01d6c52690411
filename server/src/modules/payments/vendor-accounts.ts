import type { Sql } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { findCustomer } from '#modules/customers'
import { getUser } from '#modules/identity'

/**
 * The customer an app named to a vendor as the buyer: by our id of the customer or of the user, or by the
 * owner's own id. Undefined for a name that is not ours: whoever proves the purchase first then has it.
 */
export async function customerOfAccount(sql: Sql, account_id: string): Promise<string | undefined> {
  const key = await keyOf(sql, account_id)
  if (key === undefined) return undefined
  const customer = await findCustomer(sql, key)
  return (customer ?? (await findCustomer(sql, `external_id:${account_id}`)))?.id
}

async function keyOf(sql: Sql, account_id: string): Promise<string | undefined> {
  if (!account_id.startsWith('usr_')) return account_id
  try {
    return (await getUser(sql, account_id)).customer_id ?? undefined
  } catch (error) {
    if (error instanceof NotFound) return undefined
    throw error
  }
}
