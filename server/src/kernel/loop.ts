/**
 * Work that goes on for as long as a process lives: at once while there is some, then when woken or after a
 * pause.
 */
export interface Loop {
  start(): void
  /** There may be work now. */
  wake(): void
  /** Finishes the round under way. */
  stop(): Promise<void>
}

export interface LoopOptions {
  /** Does one round; answers whether to go on at once. */
  work: () => Promise<boolean>
  /** How long to rest when there is nothing to do; also how soon another process's work is seen. */
  pause_ms: number
  /** A round failed: told, and tried again after a pause that grows up to `failure_pause_max_ms`. */
  on_error: (error: unknown) => void
  failure_pause_max_ms?: number
}

/** Makes a loop; it does nothing until it is started. */
export function createLoop({ work, pause_ms, on_error, failure_pause_max_ms = 10_000 }: LoopOptions): Loop {
  let is_running = false
  let is_woken = false
  let failures = 0
  let rest: { end: () => void } | undefined
  let finished: Promise<void> = Promise.resolve()

  const pause = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      rest = {
        end: () => {
          clearTimeout(timer)
          resolve()
        },
      }
    })
  const run = async (): Promise<void> => {
    while (is_running) {
      is_woken = false
      try {
        const has_more = await work()
        failures = 0
        if (!has_more && !is_woken && is_running) await pause(pause_ms)
      } catch (error) {
        on_error(error)
        failures++
        if (is_running) await pause(Math.min(pause_ms * 2 ** failures, failure_pause_max_ms))
      }
    }
  }
  return {
    start: () => {
      if (is_running) return
      is_running = true
      finished = run()
    },
    wake: () => {
      is_woken = true
      rest?.end()
    },
    stop: async () => {
      is_running = false
      rest?.end()
      await finished
    },
  }
}
