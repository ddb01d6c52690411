import { describe, expect, it, vi } from 'vitest'
import { createLoop } from './loop.ts'

describe('a loop', () => {
  it('goes on at once while there is work and rests when there is none', async () => {
    let left = 5
    const loop = createLoop({ work: async () => --left > 0, pause_ms: 60_000, on_error: () => undefined })
    loop.start()
    await vi.waitFor(() => expect(left).toBe(0))
    left = 2
    loop.wake()
    await vi.waitFor(() => expect(left).toBe(0))
    await loop.stop()
  })

  it('does not sleep through a wake that comes while a round is under way', async () => {
    let rounds = 0
    const loop = createLoop({
      work: async () => {
        rounds++
        if (rounds === 1) loop.wake()
        return false
      },
      pause_ms: 60_000,
      on_error: () => undefined,
    })
    loop.start()
    await vi.waitFor(() => expect(rounds).toBe(2))
    await loop.stop()
  })

  it('survives a round that fails, and stops while it rests', async () => {
    const errors: unknown[] = []
    let rounds = 0
    const loop = createLoop({
      work: async () => {
        rounds++
        if (rounds < 3) throw new Error('no database')
        return false
      },
      pause_ms: 1,
      on_error: (error) => errors.push(error),
    })
    loop.start()
    await vi.waitFor(() => expect(rounds).toBeGreaterThanOrEqual(3))
    await loop.stop()
    expect(errors).toHaveLength(2)
  })
})
