import { describe, expect, test } from 'vitest'
import { ControlError } from './errors.ts'
import { createFaults, NO_FAULTS } from './faults.ts'
import { seededRandom } from './random.ts'

const board = (seed = 1) => createFaults(seededRandom(seed, 'faults'))

describe('The switchboard', () => {
  test('everything is off at first, and a request is let through', () => {
    const faults = board()
    expect(faults.current()).toEqual(NO_FAULTS)
    expect(faults.takeForRequest(true)).toBeUndefined()
    expect(faults.take('lose')).toBe(false)
    expect(faults.takeDuplicates()).toBe(0)
  })

  test('a whole number means the next N and counts down', () => {
    const faults = board()
    faults.set({ lose: 2 })
    expect([faults.take('lose'), faults.take('lose'), faults.take('lose')]).toEqual([true, true, false])
    expect(faults.current().lose).toBe(0)
  })

  test('a fraction is a probability, the same for the same seed', () => {
    const draw = (seed: number) => {
      const faults = board(seed)
      faults.set({ forge: 0.25 })
      return Array.from({ length: 2000 }, () => faults.take('forge'))
    }
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
    const hits = draw(7).filter(Boolean).length
    expect(hits).toBeGreaterThan(400)
    expect(hits).toBeLessThan(600)
  })

  test('duplicate is a number of extra copies that does not count down, or a probability of one', () => {
    const faults = board()
    faults.set({ duplicate: 3 })
    expect([faults.takeDuplicates(), faults.takeDuplicates()]).toEqual([3, 3])
    faults.set({ duplicate: 0.5 })
    const copies = Array.from({ length: 200 }, () => faults.takeDuplicates())
    expect(new Set(copies)).toEqual(new Set([0, 1]))
  })

  test('a partial setting merges, and reset turns everything off', () => {
    const faults = board()
    faults.set({ lose: 1 })
    faults.set({ delay_ms: 50 })
    expect(faults.current()).toMatchObject({ lose: 1, delay_ms: 50 })
    faults.reset()
    expect(faults.current()).toEqual(NO_FAULTS)
  })

  test('scope picks the requests that act, those that read, or all', () => {
    const faults = board()
    faults.set({ error_429: 1 })
    expect(faults.takeForRequest(false)).toBeUndefined()
    expect(faults.takeForRequest(true)).toEqual({ kind: 'error_429', performed: false })
    faults.set({ error_429: 1, scope: 'reads' })
    expect(faults.takeForRequest(true)).toBeUndefined()
    expect(faults.takeForRequest(false)).toEqual({ kind: 'error_429', performed: false })
    faults.set({ error_429: 2, scope: 'all' })
    expect(faults.takeForRequest(true)).toBeDefined()
    expect(faults.takeForRequest(false)).toBeDefined()
  })

  test('error_500 and html_body perform and do not perform by turns, each with turns of its own', () => {
    const faults = board()
    faults.set({ error_500: 3 })
    const performed = [1, 2, 3].map(() => faults.takeForRequest(true)?.performed)
    expect(performed).toEqual([true, false, true])
    faults.set({ html_body: 2 })
    expect([1, 2].map(() => faults.takeForRequest(true)?.performed)).toEqual([true, false])
  })

  test.each([
    [null],
    [[]],
    ['lose'],
    [{ loose: 1 }],
    [{ lose: -1 }],
    [{ lose: 1.5 }],
    [{ lose: '1' }],
    [{ lose: Number.NaN }],
    [{ lose: 1e9 }],
    [{ duplicate: 51 }],
    [{ delay_ms: 0.5 }],
    [{ delay_ms: 1e12 }],
    [{ scope: 'some' }],
    [{ constructor: 1 }],
  ])('%j is refused and changes nothing', (patch) => {
    const faults = board()
    faults.set({ lose: 1 })
    expect(() => faults.set(patch)).toThrow(ControlError)
    expect(faults.current()).toEqual({ ...NO_FAULTS, lose: 1 })
  })
})
