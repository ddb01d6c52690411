import type { Clock } from '#kernel/clock'
import { afterCommit, type Sql, type Tx } from '#kernel/db'
import { MissingScope, NotFound } from '#kernel/errors'
import { newId } from '#kernel/ids'
import { type Cursors, type Page, toPage } from '#kernel/page'
import { keyChanged } from './key-memory.ts'
import * as queries from './queries.ts'
import { type KeyMode, makeSecretKey } from './secret-key.ts'

/** A secret key without its secret. `last_used_at` may be a minute behind. */
export type ApiKey = queries.ApiKeyRow

/**
 * Who makes a key: an actor with its scopes, or the program itself (`setup`, `command`), which may give
 * any.
 */
export interface KeyMaker {
  id: string
  scopes: ReadonlySet<string>
}

export interface NewApiKey {
  name: string
  /** `*` is every scope, those of later versions included. */
  scopes: readonly string[]
  /** Requests a minute; null is without a limit. */
  rate_limit_per_minute?: number | null | undefined
  expires_at?: Date | null | undefined
}

/** What may make any key: the program itself. */
export function programAsMaker(id: 'setup' | 'command'): KeyMaker {
  return { id, scopes: new Set(['*']) }
}

/**
 * Makes a key. The secret is in the answer and nowhere else. Throws {@link MissingScope} for a scope its
 * maker does not hold: nobody can raise himself by making a key.
 */
export async function createApiKey(
  tx: Tx,
  clock: Clock,
  input: { mode: KeyMode; maker: KeyMaker; key: NewApiKey },
): Promise<ApiKey & { secret: string }> {
  const { mode, maker, key } = input
  const scopes = [...new Set(key.scopes)]
  const lacking = maker.scopes.has('*') ? undefined : scopes.find((scope) => !maker.scopes.has(scope))
  if (lacking !== undefined) {
    throw new MissingScope(`A key cannot give what it does not have: ${lacking}.`, { scope: lacking })
  }
  const now = clock.now()
  const { secret, digest, hint } = makeSecretKey(mode)
  const row = await queries.insertKey(tx, {
    id: newId('key', now.getTime()),
    name: key.name,
    hint,
    secret_digest: digest,
    mode,
    scopes,
    rate_limit_per_minute: key.rate_limit_per_minute ?? null,
    created_by: maker.id,
    created_at: now,
    expires_at: key.expires_at ?? null,
  })
  return { ...row, secret }
}

/**
 * Ends a key for good: in this process from the commit on, in others within five seconds. A repeat changes
 * nothing. Throws {@link NotFound}.
 */
export async function revokeApiKey(tx: Tx, clock: Clock, id: string): Promise<ApiKey> {
  const key = await queries.revokeKey(tx, id, clock.now())
  if (!key) throw unknownKey(id)
  afterCommit(() => keyChanged(id))
  return key
}

/** Throws {@link NotFound}. */
export async function getApiKey(sql: Sql, id: string): Promise<ApiKey> {
  const key = await queries.findKey(sql, id)
  if (!key) throw unknownKey(id)
  return key
}

/** Keys newest first, revoked ones too. Throws InvalidRequest for a foreign cursor. */
export async function listApiKeys(
  sql: Sql,
  cursors: Cursors,
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<ApiKey>> {
  const [before] = page.cursor === undefined ? [] : cursors.open('api_keys', page.cursor)
  const rows = await queries.listKeys(sql, {
    limit: page.limit,
    before: before === undefined ? undefined : String(before),
  })
  return toPage(
    rows,
    page.limit,
    cursors,
    'api_keys',
    (row) => [row.id],
    (row) => row,
  )
}

function unknownKey(id: string): NotFound {
  return new NotFound(`There is no API key ${id.slice(0, 40)}.`)
}
