import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { eventTypes } from '../../server/src/kernel/events.ts'
import { notificationEvents } from '../../server/src/modules/notifications/index.ts'
import { paymentEvents } from '../../server/src/modules/payments/index.ts'
import { eventsOf, generateEventPage, moduleEvents } from './event-page.ts'

const PAGE = path.resolve(import.meta.dirname, '../../docs/events/README.md')

describe('the page of events', () => {
  test('is the one that would be made now', () => {
    expect(existsSync(PAGE) && readFileSync(PAGE, 'utf8')).toBe(generateEventPage())
  })

  test('has every event type that the modules publish, with its description', () => {
    const described = new Map(moduleEvents().map(({ name, description }) => [name, description]))
    for (const type of [...Object.values(paymentEvents), ...Object.values(notificationEvents)]) {
      expect([type.name, described.get(type.name)]).toEqual([type.name, type.description])
      expect(eventTypes()).toContain(type)
    }
  })

  test('tells the members of a payload with types, comments, additions and what is left out', () => {
    const text = `
      export interface Base {
        id: string
        /** In the smallest part. */
        amount: string
        note?: string | null
      }
      export const a = eventType<Base & { reason: 'x' | 'y' }>('a.done', 'A is done.')
      export const b = eventType<Omit<Base, 'amount' | 'note'>>('b.done', 'B is done.')`
    expect(eventsOf('x.ts', text)).toEqual([
      {
        name: 'a.done',
        description: 'A is done.',
        members: [
          { name: 'id', type: 'string', about: '' },
          { name: 'amount', type: 'string', about: 'In the smallest part.' },
          { name: 'note?', type: String.raw`string \| null`, about: '' },
          { name: 'reason', type: String.raw`'x' \| 'y'`, about: '' },
        ],
      },
      { name: 'b.done', description: 'B is done.', members: [{ name: 'id', type: 'string', about: '' }] },
    ])
  })

  test('refuses what it cannot describe instead of leaving it out', () => {
    expect(() => eventsOf('x.ts', "eventType<Unknown>('a.done', 'A.')")).toThrow('cannot describe Unknown')
    expect(() => eventsOf('x.ts', "eventType<{ a: string }>(NAME, 'A.')")).toThrow('needs its payload')
    expect(() => eventsOf('x.ts', "eventType('a.done', 'A.')")).toThrow('needs its payload')
  })
})
