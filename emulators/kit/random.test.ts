import { expect, test } from 'vitest'
import { newSeed, seededRandom } from './random.ts'

test('the same seed and label give the same sequence, another label another one', () => {
  const ids = (seed: number, label: string) => {
    const random = seededRandom(seed, label)
    return Array.from({ length: 50 }, () => random.hex(12))
  }
  expect(ids(42, 'a')).toEqual(ids(42, 'a'))
  expect(ids(42, 'a')).not.toEqual(ids(42, 'b'))
  expect(ids(42, 'a')).not.toEqual(ids(43, 'a'))
})

test('numbers fill the range evenly and ids do not repeat', () => {
  const random = seededRandom(5)
  const counts = Array.from({ length: 10 }, () => 0)
  for (let draw = 0; draw < 20_000; draw += 1) {
    const digit = random.integer(10)
    counts[digit] = (counts[digit] ?? 0) + 1
  }
  for (const count of counts) {
    expect(count).toBeGreaterThan(1800)
    expect(count).toBeLessThan(2200)
  }
  expect(new Set(Array.from({ length: 50_000 }, () => random.hex(20))).size).toBe(50_000)
  expect(random.uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

test('fresh seeds differ', () => {
  expect(new Set(Array.from({ length: 20 }, newSeed)).size).toBeGreaterThan(15)
})
