/** A page of a listing. `next_cursor` is absent on the last page. */
export interface Page<T> {
  items: T[]
  next_cursor?: string
}

/** What the control API needs to show a collection. */
export interface Collection {
  readonly size: number
  page(query: PageQuery): Page<unknown>
}

export interface PageQuery {
  /** 1–1000. */
  limit: number
  /** From `next_cursor` of the page before. */
  cursor?: string
}

/** Objects by id in the order of creation, never more than `max`: the oldest go first. */
export interface Store<T> extends Collection {
  get(id: string): T | undefined
  add(id: string, object: T): void
  delete(id: string): boolean
  clear(): void
  values(): IterableIterator<T>
  /** Newest first. `where` may throw away objects; the page is still filled up to `limit`. */
  page(query: PageQuery, where?: (object: T) => boolean): Page<T>
}

/** Builds an empty store. `max` bounds the memory of an emulator that runs for weeks. */
export function createStore<T>(max = 200_000): Store<T> {
  const by_id = new Map<string, { seq: number; object: T }>()
  let order: { seq: number; id: string }[] = []
  let next_seq = 1

  const compact = () => {
    // Deleted ids stay in `order` until they are the majority: deletion stays O(1).
    if (order.length > 64 && order.length > 2 * by_id.size) order = order.filter((entry) => isLive(entry))
  }
  const isLive = (entry: { seq: number; id: string }) => by_id.get(entry.id)?.seq === entry.seq

  return {
    get size() {
      return by_id.size
    },
    get: (id) => by_id.get(id)?.object,
    add(id, object) {
      by_id.delete(id)
      by_id.set(id, { seq: next_seq, object })
      order.push({ seq: next_seq, id })
      next_seq += 1
      while (by_id.size > max) {
        const oldest = by_id.keys().next()
        if (oldest.done) break
        by_id.delete(oldest.value)
      }
      compact()
    },
    delete(id) {
      const was_there = by_id.delete(id)
      compact()
      return was_there
    },
    clear() {
      by_id.clear()
      order = []
    },
    *values() {
      for (const entry of by_id.values()) yield entry.object
    },
    page({ limit, cursor }, where = () => true) {
      const before = cursor === undefined ? Number.POSITIVE_INFINITY : Number(cursor)
      const items: T[] = []
      let last_seq = 0
      for (let index = positionBefore(order, before); index >= 0; index -= 1) {
        const entry = order[index]
        const held = entry && by_id.get(entry.id)
        if (!entry || !held || held.seq !== entry.seq || !where(held.object)) continue
        if (items.length === limit) return { items, next_cursor: String(last_seq) }
        items.push(held.object)
        last_seq = entry.seq
      }
      return { items }
    },
  }
}

/** A collection that shows something else than what is held. */
export function viewOf<Held>(store: Store<Held>, show: (held: Held) => unknown): Collection {
  return {
    get size() {
      return store.size
    },
    page(query) {
      const page = store.page(query)
      return { ...page, items: page.items.map((held) => show(held)) }
    },
  }
}

/** The index of the last entry whose sequence number is below `before`; −1 when there is none. */
function positionBefore(order: readonly { seq: number }[], before: number): number {
  let low = 0
  let high = order.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((order[middle]?.seq ?? 0) < before) low = middle + 1
    else high = middle
  }
  return low - 1
}
