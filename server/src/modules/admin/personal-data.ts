import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { InvalidState } from '#kernel/errors'
import { eraseCustomer, extendForCustomers, leaveOrganizations, resolveCustomer } from '#modules/customers'
import { type BenefitKit, eraseUser, type Granter } from '#modules/identity'
import { forgetOrders } from '#modules/orders'
import { forgetPayments } from '#modules/payments'
import {
  findPersonIds,
  hasOpenPayments,
  PERSONAL_PARTS,
  readPersonalPart,
} from './reports/personal-data-queries.ts'

/** Everything kept about one person, by table. Secrets and their digests are left out. */
export interface PersonalData {
  customer_id: string
  made_at: Date
  /** False when a table held more rows than are taken out at once. */
  is_complete: boolean
  parts: Record<string, unknown[]>
}

const ROWS_MAX = 10_000

/** Takes out everything known about a customer and the users who are him. Throws NotFound. */
export async function exportPerson(sql: Sql, clock: Clock, id_text: string): Promise<PersonalData> {
  const customer = await resolveCustomer(sql, id_text)
  const person = await findPersonIds(sql, customer.id)
  const parts: Record<string, unknown[]> = {}
  let is_complete = true
  for (const part of PERSONAL_PARTS) {
    const rows = await readPersonalPart(sql, part, person, ROWS_MAX + 1)
    if (rows.length > ROWS_MAX) is_complete = false
    parts[part.table] = rows.slice(0, ROWS_MAX)
  }
  return { customer_id: customer.id, made_at: clock.now(), is_complete, parts }
}

/**
 * Forgets a person: facts, contacts, ways to sign in, kept payment methods. Ids, amounts and moments stay, so
 * the books stay whole and tell nobody who it was. A repeat changes nothing. Throws NotFound; {@link
 * InvalidState} while money is on its way, or when he is the last owner of the installation or of an
 * organization; MissingScope for staff who hold more than whoever erases.
 */
export async function erasePerson(
  tx: Tx,
  kit: BenefitKit,
  granter: Granter,
  id_text: string,
): Promise<{ customer_id: string }> {
  const { clock } = kit
  const { id: customer_id } = await resolveCustomer(tx, id_text)
  const person = await findPersonIds(tx, customer_id)
  if (await hasOpenPayments(tx, person.customer_ids)) {
    throw new InvalidState('A payment or refund of this customer is still on its way; wait for its end.')
  }
  // What he came by since, a device of his too, is told again when it comes without him.
  await extendForCustomers(tx, kit, [customer_id])
  for (const user_id of person.user_ids) {
    await leaveOrganizations(tx, clock, user_id)
    await eraseUser(tx, clock, granter, user_id)
  }
  await forgetOrders(tx, clock, person.customer_ids)
  await forgetPayments(tx, clock, person.customer_ids)
  await eraseCustomer(tx, clock, customer_id)
  return { customer_id }
}
