import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRateLimiter } from './rate-limiter.ts'

test('a minute’s allowance passes at once, the next one waits for its turn', () => {
  const limiter = createRateLimiter()
  for (let i = 0; i < 100; i++) expect(limiter.take('a', 100, 1_000)).toBe(0)
  const wait_ms = limiter.take('a', 100, 1_000)
  expect(wait_ms).toBeGreaterThan(500)
  expect(wait_ms).toBeLessThanOrEqual(600)
  expect(limiter.take('a', 100, 1_000 + wait_ms)).toBe(0)
  expect(limiter.take('a', 100, 1_000 + wait_ms)).toBeGreaterThan(0)
})

test('a refused request takes nothing, and looking takes nothing', () => {
  const limiter = createRateLimiter()
  for (let i = 0; i < 3; i++) limiter.take('a', 3, 0)
  const wait_ms = limiter.take('a', 3, 0)
  for (let i = 0; i < 50; i++) expect(limiter.take('a', 3, 0)).toBe(wait_ms)
  for (let i = 0; i < 50; i++) expect(limiter.wait('a', 3, 0)).toBe(wait_ms)
  expect(limiter.wait('b', 3, 0)).toBe(0)
  expect(limiter.size).toBe(1)
})

test('keys do not share an allowance', () => {
  const limiter = createRateLimiter()
  expect(limiter.take('a', 1, 0)).toBe(0)
  expect(limiter.take('a', 1, 0)).toBeGreaterThan(0)
  expect(limiter.take('b', 1, 0)).toBe(0)
})

test('without a limit everything passes and nothing is remembered', () => {
  const limiter = createRateLimiter()
  for (let i = 0; i < 1_000; i++) expect(limiter.take('a', Number.POSITIVE_INFINITY, 0)).toBe(0)
  expect(limiter.size).toBe(0)
})

test('a flood of keys is forgotten oldest first and never grows beyond its bound', () => {
  const limiter = createRateLimiter(100)
  for (let i = 0; i < 10_000; i++) limiter.take(`key ${i}`, 1, 0)
  expect(limiter.size).toBe(100)
  expect(limiter.take('key 9999', 1, 0)).toBeGreaterThan(0)
  expect(limiter.take('key 0', 1, 0)).toBe(0)
})

test('whatever the rhythm, no minute lets through more than twice the allowance', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 30 }),
      fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 200 }),
      (per_minute, pauses) => {
        const limiter = createRateLimiter()
        const passed: number[] = []
        let now_ms = 0
        for (const pause_ms of pauses) {
          now_ms += pause_ms
          if (limiter.take('a', per_minute, now_ms) === 0) passed.push(now_ms)
        }
        for (const from of passed) {
          const within = passed.filter((at) => at >= from && at < from + 60_000)
          expect(within.length).toBeLessThanOrEqual(2 * per_minute)
        }
      },
    ),
  )
})
