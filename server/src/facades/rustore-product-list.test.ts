import { expect, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import { OperationalError } from '#kernel/errors'
import { keepLists } from './rustore-product-list.ts'

test('a list is read once for everybody who looks within its time, and again after it', async () => {
  const clock = frozenClock()
  const keep = keepLists<string>(clock)
  let reads = 0
  const look = (key = 'RUB') => keep(key, async () => `${key} ${(reads += 1)}`)
  expect([await look(), await look()]).toEqual(['RUB 1', 'RUB 1'])
  expect(await look('USD')).toBe('USD 2')
  clock.advance(14_999)
  expect(await look()).toBe('RUB 1')
  clock.advance(1)
  expect(await look()).toBe('RUB 3')
})

test('an old list is shown while the database is away, and no error of ours is hidden', async () => {
  const clock = frozenClock()
  const keep = keepLists<string>(clock)
  const away = new OperationalError('database_unavailable', 'away')
  await expect(keep('RUB', () => Promise.reject(away))).rejects.toBe(away)
  await keep('RUB', async () => 'the list')
  clock.advance(60_000)
  const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  for (const error of [away, refused]) expect(await keep('RUB', () => Promise.reject(error))).toBe('the list')
  await expect(keep('RUB', () => Promise.reject(new TypeError('ours')))).rejects.toThrow('ours')
  expect(await keep('RUB', async () => 'a new one')).toBe('a new one')
})

test('no more lists are kept than there is room for', async () => {
  const keep = keepLists<number>(frozenClock())
  for (let count = 0; count < 60; count++) await keep(String(count), async () => count)
  expect(await keep('0', async () => -1)).toBe(-1)
  expect(await keep('59', async () => -1)).toBe(59)
})
