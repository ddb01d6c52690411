import { importRules } from './rules-imports.ts'
import { moduleRules } from './rules-modules.ts'
import { shapeRules } from './rules-shape.ts'
import type { Rule, SourceFile, Violation } from './rules-source.ts'
import { sqlRules } from './rules-sql.ts'
import { textRules } from './rules-text.ts'
import { worldRules } from './rules-world.ts'

/** Every rule of ARCHITECTURE.md and STYLE.md that a machine can judge. */
export const RULES: readonly Rule[] = [
  ...importRules,
  ...sqlRules,
  ...worldRules,
  ...shapeRules,
  ...moduleRules,
  ...textRules,
]

/** A place that is let off a rule for now. The list may only shrink: an entry without a violation fails. */
export interface Exception {
  rule: string
  path: string
  /** How many violations of the rule this file may have, at most. */
  count: number
  why: string
}

/** What is left of a rule's violations after the exceptions, and the exceptions that no longer apply. */
export function applyExceptions(
  found: readonly Violation[],
  exceptions: readonly Exception[],
): { left: Violation[]; stale: Exception[] } {
  const excused = (one: Violation): Exception | undefined =>
    exceptions.find((exception) => exception.rule === one.rule && exception.path === one.path)
  const countOf = (exception: Exception): number => found.filter((one) => excused(one) === exception).length
  const left = found.filter((one) => {
    const exception = excused(one)
    return exception === undefined || countOf(exception) > exception.count
  })
  return { left, stale: exceptions.filter((exception) => countOf(exception) < exception.count) }
}

/** One line per violation: `path:line rule: detail`. */
export function report(found: readonly Violation[]): string[] {
  return found.map(({ path, line, rule, detail }) => `${path}:${line} ${rule}: ${detail}`)
}

export type { Rule, SourceFile, Violation }
