import { describe, expect, test } from 'vitest'
import { EXCEPTIONS } from './exceptions.ts'
import { repositoryFiles } from './repository-files.ts'
import { applyExceptions, report, RULES } from './rules.ts'

const files = repositoryFiles()

describe('The rules of ARCHITECTURE.md and STYLE.md hold:', () => {
  test.each(RULES.map((rule) => [rule.says, rule] as const))('%s', (_says, rule) => {
    const exceptions = EXCEPTIONS.filter((exception) => exception.rule === rule.name)
    const judged = applyExceptions(rule.find(files), exceptions)
    expect(report(judged.left)).toEqual([])
    expect(judged.stale, 'exceptions that no longer apply: take them off the list').toEqual([])
  })

  test('every exception names a rule that exists and gives its reason', () => {
    for (const exception of EXCEPTIONS) {
      expect(RULES.map((rule) => rule.name)).toContain(exception.rule)
      expect(exception.why.length).toBeGreaterThan(20)
    }
  })

  test('every rule has a name of its own', () => {
    const names = RULES.map((rule) => rule.name)
    expect(new Set(names).size).toBe(names.length)
  })
})
