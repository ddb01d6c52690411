import { describe, expect, test } from 'vitest'
import { GOOD, repository } from './rules-good.ts'
import { planted, PLANTS } from './rules-plants.ts'
import { applyExceptions, report, RULES } from './rules.ts'
import { refusedWords } from './rules-modules.ts'
import { lineAt } from './rules-source.ts'

describe('Each rule reports what is planted against it:', () => {
  test.each(RULES.map((rule) => [rule.name, rule] as const))('%s', (name, rule) => {
    const plants = PLANTS[name] ?? []
    expect(plants.length, 'a rule without a planted violation is not known to work').toBeGreaterThan(0)
    for (const plant of plants) {
      const found = rule.find(planted(plant))
      expect(
        found.map(({ path, line }) => `${path}:${line}`),
        JSON.stringify(plant.files),
      ).toEqual(plant.at)
      expect(found.every((one) => one.rule === name && one.detail.length > 5)).toBe(true)
    }
  })

  test('and nothing is planted against a rule that does not exist', () => {
    expect(Object.keys(PLANTS).toSorted()).toEqual(RULES.map((rule) => rule.name).toSorted())
  })
})

describe('A repository that follows the rules passes:', () => {
  test.each(RULES.map((rule) => [rule.name, rule] as const))('%s', (_name, rule) => {
    expect(report(rule.find(repository(GOOD)))).toEqual([])
  })
})

describe('Exceptions', () => {
  const found = [1, 2, 3].map((line) => ({ path: 'a.ts', line, rule: 'floats', detail: 'd' }))
  const why = 'the vendor speaks decimals and this is its file'

  test('let off the violations they name, and no other', () => {
    const judged = applyExceptions(
      [...found, { path: 'b.ts', line: 1, rule: 'floats', detail: 'd' }],
      [{ rule: 'floats', path: 'a.ts', count: 3, why }],
    )
    expect(report(judged.left)).toEqual(['b.ts:1 floats: d'])
    expect(judged.stale).toEqual([])
  })

  test('do not cover a new violation in the same file', () => {
    expect(applyExceptions(found, [{ rule: 'floats', path: 'a.ts', count: 2, why }]).left).toHaveLength(3)
  })

  test('fail when the file has got better or is gone', () => {
    const better = { rule: 'floats', path: 'a.ts', count: 4, why }
    const gone = { rule: 'floats', path: 'c.ts', count: 1, why }
    expect(applyExceptions(found, [better, gone]).stale).toEqual([better, gone])
  })
})

test('The refused words are read from one section of the glossary', () => {
  expect(refusedWords(repository(GOOD))).toEqual(['tariff', 'cart'])
})

test('Lines are counted from one', () => {
  expect([0, 1, 2, 3].map((offset) => lineAt('a\n\nb', offset))).toEqual([1, 1, 2, 3])
})
