import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { InvalidRequest } from '#kernel/errors'
import {
  ensureCustomer,
  findCustomer,
  isExternalId,
  parseTelegramId,
  type Customer,
} from '#modules/customers'

/** Users as products' servers name them: by our id, an external id or a Telegram id, said which or not. */

/** The customer a product calls by this name; an external id is looked for before a Telegram id. */
export async function findNamedUser(sql: Sql, id: string): Promise<Customer | undefined> {
  const as_written = await findCustomer(sql, id)
  if (as_written) return as_written
  return (await findCustomer(sql, `external_id:${id}`)) ?? findCustomer(sql, `telegram_id:${id}`)
}

/**
 * As {@link findNamedUser}; a new one is made: with a Telegram id when the name looks like one, else with an
 * external id. Throws {@link InvalidRequest} at `pointer` for a name that can be neither.
 */
export async function ensureNamedUser(
  tx: Tx,
  clock: Clock,
  { id, pointer }: { id: string; pointer: string },
): Promise<Customer> {
  const known = await findNamedUser(tx, id)
  if (known) return known
  const name = id.slice(id.indexOf(':') + 1)
  const telegram_id = id.startsWith('external_id:') ? undefined : parseTelegramId(name)
  if (telegram_id === undefined && !isExternalId(name)) {
    throw new InvalidRequest([{ pointer, detail: 'is neither an external nor a Telegram id' }])
  }
  const identity = telegram_id === undefined ? { external_id: name } : { telegram_id }
  return (await ensureCustomer(tx, clock, identity)).customer
}
