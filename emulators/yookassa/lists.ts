import type { Store } from '../kit/store.ts'
import { invalidRequest } from './errors.ts'

export interface List<T> {
  type: 'list'
  items: T[]
  next_cursor?: string
}

export type ListQuery = Readonly<Record<string, string>>

const COMPARISONS = ['gte', 'gt', 'lte', 'lt'] as const

/**
 * One page, newest first; `limit` 1–100, 10 by default. Unknown parameters and malformed values are refused
 * with 400: a filter that is silently not applied is worse than a refusal.
 */
export function listPage<Held, Wire>(
  query: ListQuery,
  source: { store: Store<Held>; show: (held: Held) => Wire; matches: (wire: Wire) => boolean },
): List<Wire> {
  const limit = query['limit'] === undefined ? 10 : Number(query['limit'])
  const cursor = query['cursor'] === undefined ? undefined : readCursor(query['cursor'])
  const page = source.store.page({ limit, ...(cursor === undefined ? {} : { cursor }) }, (held) =>
    source.matches(source.show(held)),
  )
  return {
    type: 'list',
    items: page.items.map(source.show),
    ...(page.next_cursor === undefined ? {} : { next_cursor: writeCursor(page.next_cursor) }),
  }
}

/** Whether a time lies within `<field>.gte|gt|lte|lt` of the query; no time lies within no bound. */
export function isWithin(query: ListQuery, field: string, time: string | undefined): boolean {
  return COMPARISONS.every((comparison) => {
    const bound = query[`${field}.${comparison}`]
    if (bound === undefined) return true
    if (time === undefined) return false
    const difference = Date.parse(time) - Date.parse(bound)
    if (comparison === 'gte') return difference >= 0
    if (comparison === 'gt') return difference > 0
    return comparison === 'lte' ? difference <= 0 : difference < 0
  })
}

/** Whether a field equals the query's value of that name, when the query has one. */
export function isEqual(query: ListQuery, name: string, value: string | undefined): boolean {
  return query[name] === undefined || query[name] === value
}

function writeCursor(cursor: string): string {
  return Buffer.from(`after:${cursor}`).toString('base64url')
}

function readCursor(text: string): string {
  const match = /^after:(\d{1,15})$/.exec(Buffer.from(text, 'base64url').toString('latin1'))
  if (!match?.[1]) throw invalidRequest('There is no such cursor', 'cursor')
  return match[1]
}
