import { createHmac } from 'node:crypto'
import { sameBytes } from '@kopilka/extension'
import { InvalidRequest } from './errors.ts'

/** One page of a list, as every list answers. */
export interface Page<T> {
  items: T[]
  next_cursor: string | null
}

export const PAGE_DEFAULT = 50
export const PAGE_MAX = 200

export interface Cursors {
  /** Seals where the next page starts. `list` binds the cursor to one list, so it fits no other. */
  seal(list: string, position: readonly (string | number)[]): string
  /**
   * Opens a cursor. Throws {@link InvalidRequest} when it was altered, made up, or belongs to another list.
   */
  open(list: string, cursor: string): (string | number)[]
}

/** Opaque signed cursors: a caller can neither read meaning into them nor forge a position. */
export function createCursors(key: Buffer): Cursors {
  const sign = (list: string, body: string): string =>
    createHmac('sha256', key).update(`${list}\n${body}`).digest('base64url').slice(0, 22)
  return {
    seal: (list, position) => {
      const body = Buffer.from(JSON.stringify(position)).toString('base64url')
      return `${body}.${sign(list, body)}`
    },
    open: (list, cursor) => {
      const [body, signature, rest] = cursor.split('.')
      if (!body || !signature || rest !== undefined || !sameBytes(signature, sign(list, body))) {
        throw new InvalidRequest([{ pointer: '/cursor', detail: 'is not a cursor of this list' }])
      }
      return JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as (string | number)[]
    },
  }
}

/**
 * Makes a page from `limit + 1` rows: the extra row only tells that there is more.
 * `position` says where the page after the last shown row starts.
 */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  cursors: Cursors,
  list: string,
  position: (row: Row) => readonly (string | number)[],
  item: (row: Row) => Item,
): Page<Item> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const has_more = rows.length > limit && last !== undefined
  return { items: shown.map(item), next_cursor: has_more ? cursors.seal(list, position(last)) : null }
}
