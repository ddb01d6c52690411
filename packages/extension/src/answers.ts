import type { z } from 'zod'
import { GatewayUnavailable } from './http.ts'

/**
 * Reads a vendor's answer by a schema. Throws {@link GatewayUnavailable} when it has another form, e.g. a
 * proxy's page: whether the call was carried out is then unknown. The error does not quote the answer.
 */
export function readAnswer<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (!result.success) throw new GatewayUnavailable('unreadable answer')
  return result.data
}

/** A vendor's ISO 8601 moment; `undefined` when it is absent or not one. */
export function readMoment(text: string | undefined): Date | undefined {
  if (text === undefined || !/^\d{4}-\d{2}-\d{2}T/.test(text)) return undefined
  const moment = new Date(text)
  return Number.isNaN(moment.getTime()) ? undefined : moment
}

/**
 * Looks through a vendor's pages for the first item that matches; `undefined` when the list ended without
 * one. Throws {@link GatewayUnavailable} after `pages_max` pages: a search cut short must not say "there is
 * none".
 */
export async function findInPages<T>(
  readPage: (cursor: string | undefined) => Promise<{ items: readonly T[]; next_cursor?: string }>,
  matches: (item: T) => boolean,
  pages_max: number,
): Promise<T | undefined> {
  let cursor: string | undefined
  for (let page_number = 1; page_number <= pages_max; page_number++) {
    const page = await readPage(cursor)
    const found = page.items.find(matches)
    if (found !== undefined || page.next_cursor === undefined) return found
    cursor = page.next_cursor
  }
  throw new GatewayUnavailable('too many objects to search')
}
