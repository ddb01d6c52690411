import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { AlreadyExists, assert, InvalidState, NotFound, violatedConstraint } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { type CustomerKey, parseCustomerKey } from './customer-key.ts'
import { customerChanged } from './customer-resolver.ts'
import { customerWords, questionWords } from './customer-search.ts'
import * as queries from './queries.ts'

/** Who owns wallets and orders. `merged_into` is null for every customer a lookup answers. */
export type Customer = queries.CustomerRow
export type CustomerMetadata = queries.CustomerMetadata

/** What is known of a customer. Null takes a fact away; an absent member leaves it (or was never known). */
export interface CustomerFacts {
  external_id?: string | null | undefined
  telegram_id?: bigint | null | undefined
  /** Lower-cased before it is kept. Not unique: families share one. */
  email?: string | null | undefined
  phone?: string | null | undefined
  name?: string | null | undefined
  locale?: string | null | undefined
  country?: string | null | undefined
  /** Replaced as a whole. */
  metadata?: CustomerMetadata | undefined
}

/** Most customers one call looks up. */
const LOOKUP_MAX = 1000

/**
 * Makes a customer. Throws {@link AlreadyExists} with `existing_id` when the external or Telegram id is
 * taken; that id names the survivor when its owner was merged away.
 */
export async function createCustomer(tx: Tx, clock: Clock, facts: CustomerFacts): Promise<Customer> {
  const customer = newCustomer(clock, facts)
  if (await queries.insertCustomer(tx, unmerged(customer), customerWords(customer))) return customer
  throw await taken(tx, facts)
}

/**
 * The customer with this identity, made now with the given facts if there is none. An existing one is left as
 * it is. Safe when many callers ask at once: they all get the same customer.
 */
export async function ensureCustomer(
  tx: Tx,
  clock: Clock,
  identity: { external_id: string } | { telegram_id: bigint },
  facts: Omit<CustomerFacts, 'external_id' | 'telegram_id'> = {},
): Promise<{ customer: Customer; is_new: boolean }> {
  const found = await queries.findSurvivor(tx, identity)
  if (found) return { customer: found, is_new: false }
  const customer = newCustomer(clock, { ...facts, ...identity })
  if (await queries.insertCustomer(tx, unmerged(customer), customerWords(customer))) {
    return { customer, is_new: true }
  }
  // The insert waited for a rival's commit, and customers are never deleted.
  const rival = await queries.findSurvivor(tx, identity)
  if (!rival) throw new InvalidState('This customer’s identity is being changed just now; ask again.')
  return { customer: rival, is_new: false }
}

/** The customer named by `cus_…`, `external_id:…` or `telegram_id:…`; the survivor when it was merged. */
export async function findCustomer(sql: Sql, id_text: string): Promise<Customer | undefined> {
  const key = parseCustomerKey(id_text)
  return key ? queries.findSurvivor(sql, key) : undefined
}

/** As {@link findCustomer}. Throws {@link NotFound} when the text names nobody. */
export async function resolveCustomer(sql: Sql, id_text: string): Promise<Customer> {
  const customer = await findCustomer(sql, id_text)
  if (!customer) throw unknownCustomer(id_text)
  return customer
}

/** Customers by our ids, merged ones as they are; unknown ids are simply missing. At most 1000 ids. */
export async function getCustomers(sql: Sql, ids: readonly string[]): Promise<Map<string, Customer>> {
  assert(ids.length <= LOOKUP_MAX, `at most ${LOOKUP_MAX} customers are looked up at once`)
  const rows = await queries.findCustomers(sql, ids)
  return new Map(rows.map((row) => [row.id, row]))
}

/** Conditions of a list; several mean all of them. */
export interface CustomerListFilter {
  email?: string | undefined
  external_id?: string | undefined
  telegram_id?: bigint | undefined
  /** Beginnings of words of the name, e-mail, phone, external id or id, in any order. */
  query?: string | undefined
}

/** Customers newest first, without those merged away. Throws InvalidRequest for a foreign cursor. */
export async function listCustomers(
  sql: Sql,
  cursors: Cursors,
  filter: CustomerListFilter,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Customer>> {
  const { query, email, ...exact } = filter
  const words = query === undefined ? undefined : questionWords(query)
  if (words?.length === 0) return { items: [], next_cursor: null }
  const rows = await queries.listCustomers(
    sql,
    { ...exact, email: email?.toLowerCase(), words },
    { limit: page.limit, after: page.cursor === undefined ? undefined : position(cursors, page.cursor) },
  )
  const place = (row: Customer) => [row.created_at.toISOString(), row.id]
  return toPage(rows, page.limit, cursors, 'customers', place, (row) => row)
}

/**
 * Changes the facts that are given. Throws {@link NotFound}; {@link AlreadyExists} with `existing_id` when an
 * identity is another customer's; {@link InvalidState} when the customer was erased.
 */
export async function updateCustomer(
  tx: Tx,
  clock: Clock,
  change: { id_text: string; facts: CustomerFacts },
): Promise<Customer> {
  const { id } = await resolveCustomer(tx, change.id_text)
  const [customer] = await queries.lockCustomers(tx, [id])
  assert(customer, 'a customer vanished')
  // Merged between the look and the lock: the caller asks again and reaches the survivor.
  if (customer.merged_into !== null) throw new InvalidState(`The customer ${id} is being merged; ask again.`)
  if (customer.erased_at !== null)
    throw new InvalidState(`The customer ${id} was erased and cannot be changed.`)
  const given = Object.fromEntries(Object.entries(change.facts).filter(([, value]) => value !== undefined))
  const next: Customer = { ...customer, ...given, updated_at: clock.now() }
  next.email = next.email?.toLowerCase() ?? null
  if (Object.keys(given).length === 0) return customer
  await checkIdentities(tx, customer, next)
  await store(tx, next)
  customerChanged(id)
  return next
}

/**
 * Makes `from_id` an alias of `into_id`: every lookup of the first answers the second from now on. Identities
 * and contacts the survivor lacks move to it; those it has stay with the alias and lead to the survivor.
 * Moves no wallets: whoever merges customers moves those in the same transaction. A repeat changes nothing.
 * Throws {@link NotFound}; {@link InvalidState} for itself, or for a customer merged elsewhere or erased.
 */
export async function mergeCustomer(
  tx: Tx,
  clock: Clock,
  merge: { from_id: string; into_id: string },
): Promise<Customer> {
  const { from_id, into_id } = merge
  const locked = await queries.lockCustomers(tx, [from_id, into_id])
  const from = locked.find((customer) => customer.id === from_id)
  const into = locked.find((customer) => customer.id === into_id)
  if (!from) throw unknownCustomer(from_id)
  if (!into) throw unknownCustomer(into_id)
  if (from_id === into_id) throw new InvalidState('A customer cannot be merged into itself.')
  if (from.merged_into === into_id) return into
  for (const { id, merged_into, erased_at } of [from, into]) {
    if (merged_into !== null)
      throw new InvalidState(`The customer ${id} was merged into ${merged_into} before.`)
    if (erased_at !== null) throw new InvalidState(`The customer ${id} was erased.`)
  }
  const now = clock.now()
  const survivor: Customer = { ...into, updated_at: now }
  const alias: Customer = { ...from, updated_at: now, merged_into: into_id }
  survivor.external_id ??= from.external_id
  survivor.telegram_id ??= from.telegram_id
  survivor.email ??= from.email
  survivor.phone ??= from.phone
  survivor.name ??= from.name
  survivor.locale ??= from.locale
  survivor.country ??= from.country
  // An identity is unique: the alias gives it up before the survivor takes it.
  if (survivor.external_id === from.external_id) alias.external_id = null
  if (survivor.telegram_id === from.telegram_id) alias.telegram_id = null
  await store(tx, alias)
  await store(tx, survivor)
  await queries.redirectMerged(tx, from_id, into_id)
  customerChanged(from_id)
  customerChanged(into_id)
  return survivor
}

/**
 * Forgets the person: every fact and identity is emptied, the id stays so that the books stay whole.
 * A repeat changes nothing. Throws {@link NotFound}.
 */
export async function eraseCustomer(tx: Tx, clock: Clock, id_text: string): Promise<Customer> {
  const { id } = await resolveCustomer(tx, id_text)
  const aliases = await queries.findAliasIds(tx, id)
  const locked = await queries.lockCustomers(tx, [id, ...aliases])
  const now = clock.now()
  for (const customer of locked) {
    if (customer.erased_at !== null) continue
    Object.assign(customer, NOTHING_KNOWN, { metadata: {}, erased_at: now, updated_at: now })
    await store(tx, customer)
    customerChanged(customer.id)
  }
  const erased = locked.find((customer) => customer.id === id)
  assert(erased, 'a customer vanished')
  return erased
}

const NOTHING_KNOWN = {
  external_id: null,
  telegram_id: null,
  email: null,
  phone: null,
  name: null,
  locale: null,
  country: null,
} as const

function newCustomer(clock: Clock, facts: CustomerFacts): Customer {
  const now = clock.now()
  return {
    id: newId('cus', now.getTime()),
    external_id: facts.external_id ?? null,
    telegram_id: facts.telegram_id ?? null,
    email: facts.email?.toLowerCase() ?? null,
    phone: facts.phone ?? null,
    name: facts.name ?? null,
    locale: facts.locale ?? null,
    country: facts.country ?? null,
    metadata: facts.metadata ?? {},
    merged_into: null,
    erased_at: null,
    created_at: now,
    updated_at: now,
  }
}

function unmerged(customer: Customer): Omit<Customer, 'merged_into' | 'erased_at'> {
  const { merged_into: _merged_into, erased_at: _erased_at, ...columns } = customer
  return columns
}

/** Asks first, so that the refusal can name the owner; the unique constraint stands behind it in a race. */
async function checkIdentities(tx: Tx, before: Customer, next: Customer): Promise<void> {
  const changed: CustomerFacts = {}
  if (next.external_id !== before.external_id) changed.external_id = next.external_id
  if (next.telegram_id !== before.telegram_id) changed.telegram_id = next.telegram_id
  for (const key of identities(changed)) {
    if (await queries.findSurvivor(tx, key)) throw await taken(tx, changed)
  }
}

async function store(tx: Tx, customer: Customer): Promise<void> {
  try {
    await queries.updateCustomer(tx, customer, customerWords(customer))
  } catch (error) {
    if (violatedConstraint(error) === undefined) throw error
    throw new AlreadyExists('Another customer has this external or Telegram id.', {}, { cause: error })
  }
}

async function taken(tx: Tx, facts: CustomerFacts): Promise<AlreadyExists> {
  for (const key of identities(facts)) {
    const owner = await queries.findSurvivor(tx, key)
    const [member] = Object.keys(key)
    if (owner)
      return new AlreadyExists(`A customer with this ${member} exists.`, { existing_id: owner.id, member })
  }
  return new AlreadyExists('A customer with this identity was being made just now.')
}

function identities(facts: CustomerFacts): CustomerKey[] {
  const keys: CustomerKey[] = []
  if (facts.external_id != null) keys.push({ external_id: facts.external_id })
  if (facts.telegram_id != null) keys.push({ telegram_id: facts.telegram_id })
  return keys
}

function position(cursors: Cursors, cursor: string): { created_at: Date; id: string } {
  const [created_at, id] = cursors.open('customers', cursor)
  return { created_at: new Date(String(created_at)), id: String(id) }
}

function unknownCustomer(id_text: string): NotFound {
  return new NotFound(`There is no customer ${id_text.slice(0, 220)}.`)
}
