import type { Tx } from '#kernel/db'
import { type BenefitKit, claimBenefit, extendBenefits, type KnownBy } from '#modules/identity'
import { resolveCustomer } from './customers.ts'
import * as queries from './queries.ts'

/**
 * Claims a benefit for whoever the customer is, once for everything he and his users are known by; see
 * `claimBenefit` of identity. Throws NotFound, AlreadyGiven, OperationalError.
 */
export async function claimForCustomer(
  tx: Tx,
  kit: BenefitKit,
  input: { benefit: string; customer_id: string },
): Promise<void> {
  await claimBenefit(tx, kit, { benefit: input.benefit, ...(await personOf(tx, input.customer_id)) })
}

/**
 * Adds what customers are known by now to what they were given once before; see `extendBenefits` of identity.
 * Throws NotFound, OperationalError.
 */
export async function extendForCustomers(
  tx: Tx,
  kit: BenefitKit,
  customer_ids: Iterable<string>,
): Promise<void> {
  for (const customer_id of [...new Set(customer_ids)].toSorted()) {
    await extendBenefits(tx, kit, await personOf(tx, customer_id))
  }
}

async function personOf(tx: Tx, customer_id: string): Promise<{ customer_ids: string[]; more: KnownBy[] }> {
  const { id } = await resolveCustomer(tx, customer_id)
  const customer_ids = [id, ...(await queries.findAliasIds(tx, id))]
  const rows = await queries.findCustomers(tx, customer_ids)
  return { customer_ids, more: rows.flatMap(knownBy) }
}

/**
 * What the owner says of a customer. An address is no proof: where a user stands behind the customer it may
 * be one nobody opened the mails of, and the user's own row says which.
 */
function knownBy(customer: queries.CustomerRow): KnownBy[] {
  const { external_id, telegram_id, email, phone } = customer
  const facts: readonly (readonly [string, string | null, boolean])[] = [
    ['external', external_id, true],
    ['telegram', telegram_id?.toString() ?? null, true],
    ['phone', phone?.replaceAll(/[^\d+]/g, '') ?? null, true],
    ['email', email, false],
  ]
  return facts.flatMap(([kind, value, is_proved]) => (value === null ? [] : [{ kind, value, is_proved }]))
}
