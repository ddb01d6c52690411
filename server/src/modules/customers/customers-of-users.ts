import type { Clock } from '#kernel/clock'
import type { Tx } from '#kernel/db'
import { assignCustomer, isCustomerTaken, type UserPayload } from '#modules/identity'
import { createCustomer, findCustomer, updateCustomer, type Customer } from './customers.ts'

/**
 * Gives every new user a customer of his own. Somebody who signed up through Telegram becomes the customer a
 * bot made for this Telegram id before, unless another user has that one.
 */
export async function giveCustomers(tx: Tx, clock: Clock, users: readonly UserPayload[]): Promise<void> {
  for (const user of users) {
    const customer = await customerFor(tx, clock, user)
    await assignCustomer(tx, clock, { user_id: user.user_id, customer_id: customer.id })
  }
}

async function customerFor(tx: Tx, clock: Clock, user: UserPayload): Promise<Customer> {
  const { email, name, locale, telegram_id } = user
  const known = telegram_id === null ? undefined : await findCustomer(tx, `telegram_id:${telegram_id}`)
  if (known && known.erased_at === null && !(await isCustomerTaken(tx, known.id))) return known
  const is_free = telegram_id !== null && known === undefined
  return createCustomer(tx, clock, { email, name, locale, telegram_id: is_free ? BigInt(telegram_id) : null })
}

/** Keeps the customer's contact facts as the user's are. */
export async function followUser(
  tx: Tx,
  clock: Clock,
  changes: readonly {
    customer_id: string
    email: string | null
    name: string | null
    locale: string | null
  }[],
): Promise<void> {
  for (const { customer_id, email, name, locale } of changes) {
    // An address that is not proved yet does not take away the one receipts go to.
    const facts = email === null ? { name, locale } : { email, name, locale }
    await updateCustomer(tx, clock, { id_text: customer_id, facts })
  }
}

/**
 * Puts a linked Telegram account's id on the customer, so that a bot finds him; not when another customer has
 * it.
 */
export async function followLink(
  tx: Tx,
  clock: Clock,
  links: readonly { customer_id: string; provider: string; subject: string }[],
): Promise<void> {
  for (const { customer_id, provider, subject } of links) {
    if (provider !== 'telegram') continue
    const owner = await findCustomer(tx, `telegram_id:${subject}`)
    const own = await findCustomer(tx, customer_id)
    if (owner !== undefined || own === undefined || own.telegram_id !== null) continue
    await updateCustomer(tx, clock, { id_text: own.id, facts: { telegram_id: BigInt(subject) } })
  }
}

/** Takes an unlinked Telegram account's id from the customer: its owner may be somebody else from now on. */
export async function followUnlink(
  tx: Tx,
  clock: Clock,
  links: readonly { customer_id: string; provider: string; subject: string }[],
): Promise<void> {
  for (const { customer_id, provider, subject } of links) {
    if (provider !== 'telegram') continue
    const own = await findCustomer(tx, customer_id)
    if (own?.telegram_id !== BigInt(subject)) continue
    await updateCustomer(tx, clock, { id_text: own.id, facts: { telegram_id: null } })
  }
}
