import type { Clock } from '#kernel/clock'
import { isDatabaseUnavailable, OperationalError } from '#kernel/errors'

/** The list is read at every start of the app; a change of a price shows within this time. */
const LIST_AGE_MS = 15_000
const LISTS_MAX = 50

/**
 * Keeps lists for a moment, by what they were asked for. While the database is away an old one is shown
 * rather than none: what is bought is judged by the price of its day. Throws what `load` throws otherwise.
 */
export function keepLists<List>(clock: Clock): (key: string, load: () => Promise<List>) => Promise<List> {
  const lists = new Map<string, { list: List; made_ms: number }>()
  return async (key, load) => {
    const now_ms = clock.now_ms()
    const kept = lists.get(key)
    if (kept && now_ms >= kept.made_ms && now_ms - kept.made_ms < LIST_AGE_MS) return kept.list
    try {
      const list = await load()
      lists.delete(key)
      if (lists.size >= LISTS_MAX) lists.delete(lists.keys().next().value ?? '')
      lists.set(key, { list, made_ms: now_ms })
      return list
    } catch (error) {
      const is_away = error instanceof OperationalError || isDatabaseUnavailable(error)
      if (!kept || !is_away) throw error
      return kept.list
    }
  }
}
