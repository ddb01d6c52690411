import { describe, expect, test } from 'vitest'
import { createStore, viewOf } from './store.ts'
import type { Store } from './store.ts'

function filled(count: number, max?: number): Store<number> {
  const store = createStore<number>(max)
  for (let number = 1; number <= count; number += 1) store.add(`id${number}`, number)
  return store
}

describe('A store', () => {
  test('pages newest first, and every object comes exactly once', () => {
    const store = filled(25)
    const first = store.page({ limit: 10 })
    const second = store.page({ limit: 10, cursor: first.next_cursor ?? '' })
    const third = store.page({ limit: 10, cursor: second.next_cursor ?? '' })
    expect([...first.items, ...second.items, ...third.items]).toEqual(
      Array.from({ length: 25 }, (_, index) => 25 - index),
    )
    expect(third.next_cursor).toBeUndefined()
  })

  test('has no next page when the last one is exactly full', () => {
    expect(filled(10).page({ limit: 10 }).next_cursor).toBeUndefined()
  })

  test('what comes in between two pages does not shift the second', () => {
    const store = filled(6)
    const first = store.page({ limit: 3 })
    store.add('late', 99)
    expect(store.page({ limit: 3, cursor: first.next_cursor ?? '' }).items).toEqual([3, 2, 1])
  })

  test('a filter still fills the page', () => {
    const page = filled(20).page({ limit: 3 }, (number) => number % 5 === 0)
    expect(page.items).toEqual([20, 15, 10])
    expect(page.next_cursor).toBeDefined()
  })

  test('never holds more than its maximum: the oldest go', () => {
    const store = filled(1000, 10)
    expect(store.size).toBe(10)
    expect(store.get('id990')).toBeUndefined()
    expect(store.get('id991')).toBe(991)
    expect(store.page({ limit: 100 }).items).toHaveLength(10)
  })

  test('forgets what is deleted, also after much deleting', () => {
    const store = filled(500)
    for (let number = 1; number <= 499; number += 1) expect(store.delete(`id${number}`)).toBe(true)
    expect(store.delete('id1')).toBe(false)
    expect(store.page({ limit: 100 }).items).toEqual([500])
    expect([...store.values()]).toEqual([500])
    store.clear()
    expect(store.page({ limit: 100 })).toEqual({ items: [] })
  })

  test('an id added again is the newest and is listed once', () => {
    const store = filled(3)
    store.add('id1', 100)
    expect(store.page({ limit: 10 }).items).toEqual([100, 3, 2])
  })

  test('can be shown as something else', () => {
    const view = viewOf(filled(2), (number) => `#${number}`)
    expect(view.size).toBe(2)
    expect(view.page({ limit: 5 })).toEqual({ items: ['#2', '#1'] })
  })
})
