import type { Sql, Tx } from '#kernel/db'
import { eventTypes } from '#kernel/events'
import { InvalidRequest, InvalidState, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { toPage, type Cursors, type Page } from '#kernel/page'
import type { SecretBox } from '#kernel/secrets'
import { cancelDeliveries } from './delivery-queries.ts'
import * as queries from './endpoint-queries.ts'
import type { EndpointRow } from './endpoint-queries.ts'
import type { NotificationsKit } from './kit.ts'
import { OLD_SECRET_MS } from './schedule.ts'
import { isSecret, newSecret } from './signing.ts'

/** An endpoint without its secrets. */
export type Endpoint = Omit<EndpointRow, 'secret' | 'previous_secret' | 'deleted_at'>

/** As {@link Endpoint}, with the secret that is shown once. */
export type EndpointWithSecret = Endpoint & { secret: string }

export interface EndpointFacts {
  url?: string | undefined
  description?: string | undefined
  event_types?: readonly string[] | undefined
}

/** More would make one payment write that many rows. */
const ENDPOINTS_MAX = 50

/** What a sealed secret is bound to. */
export function secretContext(endpoint_id: string): string {
  return `notifications.webhook_endpoints/${endpoint_id}`
}

/**
 * Makes an endpoint; without a secret of the caller's it gets a new one. Throws {@link InvalidRequest} for an
 * address that webhooks may not be sent to, an unknown type, or a malformed secret; {@link InvalidState} when
 * there are 50.
 */
export async function createEndpoint(
  tx: Tx,
  kit: NotificationsKit,
  facts: EndpointFacts & { url: string; secret?: string | undefined },
): Promise<EndpointWithSecret> {
  check(kit, facts)
  const secret = secretOf(facts)
  if ((await queries.countEndpoints(tx)) >= ENDPOINTS_MAX)
    throw new InvalidState(`There are ${ENDPOINTS_MAX} endpoints; delete one first.`)
  const now = kit.clock.now()
  const id = newId('whe', now.getTime())
  const row = await queries.insertEndpoint(tx, {
    id,
    url: facts.url,
    description: facts.description ?? '',
    event_types: [...new Set(facts.event_types ?? ['*'])],
    secret: kit.box.seal(secret, secretContext(id)),
    created_at: now,
    updated_at: now,
  })
  return { ...shown(row), secret }
}

/** Throws {@link NotFound}. */
export async function getEndpoint(sql: Sql, id: string): Promise<Endpoint> {
  const row = await queries.findEndpoint(sql, id)
  if (!row) throw unknown(id)
  return shown(row)
}

/** Endpoints newest first. Throws InvalidRequest for a foreign cursor. */
export async function listEndpoints(
  sql: Sql,
  cursors: Cursors,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Endpoint>> {
  const after =
    page.cursor === undefined ? undefined : readPosition(cursors, 'webhook_endpoints', page.cursor)
  const rows = await queries.listEndpoints(sql, { limit: page.limit, after })
  return toPage(rows, page.limit, cursors, 'webhook_endpoints', position, shown)
}

/**
 * Changes the facts that are given; `is_disabled` stops and starts the sending. What waited while it was
 * stopped goes out when it starts. Throws {@link NotFound}; {@link InvalidRequest} as `createEndpoint`.
 */
export async function updateEndpoint(
  tx: Tx,
  kit: NotificationsKit,
  change: { id: string; facts: EndpointFacts & { is_disabled?: boolean | undefined } },
): Promise<Endpoint> {
  check(kit, change.facts)
  const before = await lock(tx, change.id)
  const { url = before.url, description = before.description, is_disabled } = change.facts
  const now = kit.clock.now()
  const is_started = is_disabled === false && before.disabled_at !== null
  const is_stopped = is_disabled === true && before.disabled_at === null
  const row = await queries.updateEndpoint(tx, before.id, {
    url,
    description,
    event_types: [...new Set(change.facts.event_types ?? before.event_types)],
    updated_at: now,
    // Another address, or another start: what failed before says nothing about it.
    ...(is_started || url !== before.url ? { failing_since: null } : {}),
    ...(is_started ? { disabled_at: null, disabled_reason: null } : {}),
    ...(is_stopped ? { disabled_at: now, disabled_reason: 'owner' as const } : {}),
  })
  return shown(row)
}

/** Forgets an endpoint and its secrets; what waited for it is canceled. Throws {@link NotFound}. */
export async function deleteEndpoint(tx: Tx, kit: NotificationsKit, id: string): Promise<void> {
  await lock(tx, id)
  const now = kit.clock.now()
  await queries.updateEndpoint(tx, id, {
    secret: null,
    previous_secret: null,
    previous_secret_expires_at: null,
    deleted_at: now,
    updated_at: now,
  })
  await cancelDeliveries(tx, id)
}

/**
 * Gives an endpoint another secret; the old one signs too for 24 hours, and the one before it no more.
 * Throws {@link NotFound}, {@link InvalidRequest} for a malformed secret.
 */
export async function rotateSecret(
  tx: Tx,
  kit: NotificationsKit,
  rotation: { id: string; secret?: string | undefined },
): Promise<EndpointWithSecret> {
  const secret = secretOf(rotation)
  const before = await lock(tx, rotation.id)
  const now = kit.clock.now()
  const row = await queries.updateEndpoint(tx, before.id, {
    secret: kit.box.seal(secret, secretContext(before.id)),
    previous_secret: before.secret,
    previous_secret_expires_at: new Date(now.getTime() + OLD_SECRET_MS),
    updated_at: now,
  })
  return { ...shown(row), secret }
}

/** Seals every secret under the newest key of the box. Answers how many were changed. */
export async function resealEndpointSecrets(tx: Tx, box: SecretBox): Promise<number> {
  let changed = 0
  for (const { id, ...secrets } of await queries.listSealed(tx)) {
    const fresh = Object.entries(secrets).flatMap(([name, sealed]) => {
      const text = sealed === null ? undefined : box.rewrap(sealed, secretContext(id))
      return text === undefined ? [] : [[name, text] as const]
    })
    if (fresh.length > 0) await queries.updateEndpoint(tx, id, Object.fromEntries(fresh))
    changed += fresh.length
  }
  return changed
}

/** Reads a cursor of a list that is ordered by creation and id. */
export function readPosition(cursors: Cursors, list: string, cursor: string): queries.Position {
  const [created_at, id] = cursors.open(list, cursor)
  return { created_at: new Date(String(created_at)), id: String(id) }
}

/** The place of a row in such a list. */
export function position(row: queries.Position): readonly string[] {
  return [row.created_at.toISOString(), row.id]
}

async function lock(tx: Tx, id: string): Promise<EndpointRow> {
  const row = await queries.lockEndpoint(tx, id)
  if (!row) throw unknown(id)
  return row
}

function check(kit: NotificationsKit, facts: EndpointFacts): void {
  if (facts.url !== undefined && !kit.transport.isAllowedUrl(facts.url))
    throw new InvalidRequest([{ pointer: '/url', detail: 'is not an address webhooks may be sent to' }])
  const known = new Set(['*', ...eventTypes().map(({ name }) => name)])
  const strange = facts.event_types?.findIndex((type) => !known.has(type)) ?? -1
  if (strange >= 0)
    throw new InvalidRequest([{ pointer: `/event_types/${strange}`, detail: 'is not a type of event' }])
}

function secretOf({ secret }: { secret?: string | undefined }): string {
  if (secret !== undefined && !isSecret(secret))
    throw new InvalidRequest([
      { pointer: '/secret', detail: 'must be whsec_ and the base64 of 24 to 64 bytes' },
    ])
  return secret ?? newSecret()
}

function shown(row: EndpointRow): Endpoint {
  const { secret: _secret, previous_secret: _previous, deleted_at: _deleted_at, ...rest } = row
  return rest
}

function unknown(id: string): NotFound {
  return new NotFound(`There is no webhook endpoint ${id.slice(0, 60)}.`)
}
