import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { createCoalescer } from './coalesce.ts'

function recorder(
  options: { batch_max?: number; concurrency?: number; waiting_max?: number; flush_ms?: number } = {},
) {
  const batches: number[][] = []
  let running = 0
  let running_max = 0
  const { flush_ms = 5, batch_max = 3, ...rest } = options
  const coalescer = createCoalescer<number, string>({
    ...rest,
    batch_max,
    flush: async (inputs) => {
      running += 1
      running_max = Math.max(running_max, running)
      batches.push([...inputs])
      await sleep(flush_ms)
      running -= 1
      if (inputs.includes(13)) throw new Error('unlucky')
      return inputs.map((input) => `n${input}`)
    },
  })
  return { coalescer, batches, runningMax: () => running_max }
}

describe('a coalescer', () => {
  test('flushes at once when idle: one tick’s inputs make one batch', async () => {
    const { coalescer, batches } = recorder({ flush_ms: 0, batch_max: 10 })
    expect(await Promise.all([coalescer.add(1), coalescer.add(2)])).toEqual(['n1', 'n2'])
    expect(await coalescer.add(3)).toBe('n3')
    expect(batches).toEqual([[1, 2], [3]])
  })

  test('gathers the next batch while one is under way, never above the limit, in order', async () => {
    const { coalescer, batches, runningMax } = recorder()
    const first = coalescer.add(0)
    await sleep(1)
    const rest = [1, 2, 3, 4, 5, 6, 7].map((n) => coalescer.add(n))
    expect(coalescer.waiting()).toBe(7)
    expect(await Promise.all([first, ...rest])).toEqual(['n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7'])
    expect(batches).toEqual([[0], [1, 2, 3], [4, 5, 6], [7]])
    expect(runningMax()).toBe(1)
  })

  test('runs as many batches at once as it was told', async () => {
    const { coalescer, runningMax } = recorder({ batch_max: 1, concurrency: 4 })
    await Promise.all(Array.from({ length: 20 }, (_, n) => coalescer.add(n + 100)))
    expect(runningMax()).toBe(4)
  })

  test('a failed batch fails its own callers and nobody else', async () => {
    const { coalescer } = recorder({ batch_max: 2 })
    const outcomes = await Promise.allSettled([11, 12, 13, 14, 15].map((n) => coalescer.add(n)))
    expect(outcomes.map((outcome) => outcome.status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ])
  })

  test('a flush that answers too few fails its callers instead of hanging them', async () => {
    const coalescer = createCoalescer<number, number>({
      batch_max: 5,
      flush: async (inputs) => inputs.slice(1),
    })
    await expect(coalescer.add(1)).rejects.toThrow('one output per input')
  })

  test('stop lets the waiting finish and refuses the new', async () => {
    const { coalescer, batches } = recorder()
    const taken = [1, 2, 3, 4].map((n) => coalescer.add(n))
    const stopped = coalescer.stop()
    await expect(coalescer.add(5)).rejects.toMatchObject({ code: 'overloaded' })
    await stopped
    expect(batches.flat()).toEqual([1, 2, 3, 4])
    expect(await Promise.all(taken)).toHaveLength(4)
    await coalescer.stop()
  })

  test('refuses more than may wait instead of growing without end', async () => {
    const { coalescer } = recorder({ waiting_max: 2, batch_max: 1 })
    const first = coalescer.add(1)
    await sleep(1)
    const waiting = [coalescer.add(2), coalescer.add(3)]
    await expect(coalescer.add(4)).rejects.toMatchObject({ code: 'overloaded', status: 503 })
    expect(await Promise.all([first, ...waiting])).toEqual(['n1', 'n2', 'n3'])
  })

  test('a batch runs outside of the context of the caller that came first', async () => {
    const context = new AsyncLocalStorage<string>()
    const coalescer = createCoalescer<number, string | undefined>({
      batch_max: 5,
      flush: async (inputs) => inputs.map(() => context.getStore()),
    })
    expect(await context.run('a transaction', () => coalescer.add(1))).toBeUndefined()
  })
})
