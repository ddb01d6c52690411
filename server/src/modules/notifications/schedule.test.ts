import { expect, test } from 'vitest'
import { ATTEMPTS, nextAttempt } from './schedule.ts'

const failed_at = new Date('2026-03-01T12:00:00.000Z')
const pauses = (jitter: number): (number | undefined)[] =>
  Array.from({ length: ATTEMPTS }, (_, done) => {
    const next = nextAttempt({ attempts_left: ATTEMPTS - 1 - done, failed_at, jitter })
    return next === undefined ? undefined : (next.getTime() - failed_at.getTime()) / 1000
  })

test('the pauses are those of Standard Webhooks, and the tenth failure is the last', () => {
  expect(pauses(0)).toEqual([5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, undefined])
})

test('jitter lengthens a pause by less than a tenth', () => {
  expect(pauses(999)[0]).toBeCloseTo(5.499, 2)
  expect(pauses(500)[8]).toBe(90_720)
})

test('attempts beyond the schedule keep its ends', () => {
  expect(nextAttempt({ attempts_left: 99, failed_at, jitter: 0 })).toEqual(
    new Date(failed_at.getTime() + 5_000),
  )
  expect(nextAttempt({ attempts_left: -1, failed_at, jitter: 0 })).toBeUndefined()
})
