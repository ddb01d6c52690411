import { AsyncLocalStorage } from 'node:async_hooks'
import { assert, OperationalError } from './errors.ts'

export interface CoalescerOptions<Input, Output> {
  /**
   * Does the work for a batch; answers one output per input, in the same order. A throw fails the whole
   * batch.
   */
  flush: (inputs: readonly Input[]) => Promise<readonly Output[]>
  /** Inputs in one batch at most. */
  batch_max: number
  /** Batches under way at once; default 1. */
  concurrency?: number
  /** Inputs that may wait; one more is refused. Default 10,000. */
  waiting_max?: number
}

export interface Coalescer<Input, Output> {
  /**
   * Puts one input into the next batch and answers its output.
   * Throws what its batch threw, or OperationalError `overloaded` when too many wait or after {@link stop}.
   */
  add(input: Input): Promise<Output>
  /** Inputs that are in no batch yet. */
  waiting(): number
  /** Takes no more; resolves when everything taken before has its answer. Repeatable. */
  stop(): Promise<void>
}

interface Waiter<Input, Output> {
  input: Input
  resolve: (output: Output) => void
  reject: (error: unknown) => void
}

/**
 * Turns many calls at once into few: idle, it flushes when what has already arrived was read, which is
 * the end of this turn of the event loop; while a batch is under way the next one gathers. So it adds no wait
 * when quiet and shares commits when busy.
 */
export function createCoalescer<Input, Output>(
  options: CoalescerOptions<Input, Output>,
): Coalescer<Input, Output> {
  const { flush, batch_max, concurrency = 1, waiting_max = 10_000 } = options
  assert(batch_max >= 1 && concurrency >= 1, 'a coalescer needs room for at least one input and one batch')
  let waiters: Waiter<Input, Output>[] = []
  let under_way = 0
  let is_scheduled = false
  let is_stopping = false
  const idle: (() => void)[] = []
  // A batch belongs to no single caller: it must not inherit the transaction or request of the one that came
  // first.
  const outside = AsyncLocalStorage.snapshot()

  const run = async (batch: readonly Waiter<Input, Output>[]): Promise<void> => {
    try {
      const outputs = await flush(batch.map((waiter) => waiter.input))
      assert(outputs.length === batch.length, 'a flush must answer one output per input')
      batch.forEach((waiter, index) => waiter.resolve(outputs[index] as Output))
    } catch (error) {
      for (const waiter of batch) waiter.reject(error)
    } finally {
      under_way -= 1
      start()
    }
  }

  function start(): void {
    is_scheduled = false
    while (under_way < concurrency && waiters.length > 0) {
      const batch = waiters.slice(0, batch_max)
      waiters = waiters.slice(batch_max)
      under_way += 1
      void outside(run, batch)
    }
    if (under_way === 0 && waiters.length === 0) for (const resolve of idle.splice(0)) resolve()
  }

  return {
    add: (input) => {
      if (is_stopping || waiters.length >= waiting_max) {
        const why = is_stopping
          ? 'The server is stopping.'
          : 'Too many requests wait already; nothing was done.'
        return Promise.reject(new OperationalError('overloaded', why))
      }
      return new Promise<Output>((resolve, reject) => {
        waiters.push({ input, resolve, reject })
        if (is_scheduled || under_way >= concurrency) return
        is_scheduled = true
        // Not a microtask: requests are read one by one, each a task of its own, and the first would go alone
        // while all that came with it waits for its commit.
        setImmediate(start)
      })
    },
    waiting: () => waiters.length,
    stop: () => {
      is_stopping = true
      if (under_way === 0 && waiters.length === 0) return Promise.resolve()
      return new Promise((resolve) => {
        idle.push(resolve)
      })
    },
  }
}
