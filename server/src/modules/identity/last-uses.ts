import type { Db } from '#kernel/db'
import { createLoop } from '#kernel/loop'
import { markUsed } from './queries.ts'

/** Gathers when keys were used and writes it now and then, so that a use costs no statement. */
export interface LastUses {
  note(key_id: string, used_ms: number): void
  /** Writes what was gathered. Does not fail: nobody's stop should for the sake of a moment of last use. */
  stop(): Promise<void>
}

export function createLastUses(
  db: Db,
  options: { flush_ms: number; on_error: (error: unknown) => void },
): LastUses {
  const used = new Map<string, number>()
  const write = async (): Promise<void> => {
    if (used.size === 0) return
    const taken = [...used]
    used.clear()
    const uses = taken.map(([id, used_ms]) => ({ id, used_at: new Date(used_ms) }))
    try {
      await db.transact((tx) => markUsed(tx, uses))
    } catch (error) {
      for (const [id, used_ms] of taken) if (!used.has(id)) used.set(id, used_ms)
      throw error
    }
  }
  const loop = createLoop({
    work: async () => {
      await write()
      return false
    },
    pause_ms: options.flush_ms,
    on_error: options.on_error,
  })
  loop.start()
  return {
    note: (key_id, used_ms) => {
      used.set(key_id, used_ms)
    },
    stop: async () => {
      await loop.stop()
      await write().catch(options.on_error)
    },
  }
}
