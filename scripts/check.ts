/**
 * Everything that must hold before a change lands: `npm run check`. The list is this file; CI runs the same.
 * Cheap steps come first, and the first failure stops it.
 *
 *   npm run check -- --all            goes on after a failure
 *   npm run check -- --only types,tests
 */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { run } from './check/run.ts'
import { chooseSteps, sayResults, type Step, type StepResult } from './check/steps.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const bin = (name: string): string => path.join(ROOT, 'node_modules', name)

const STEPS: readonly Step[] = [
  { name: 'format', says: 'oxfmt', command: [bin('oxfmt/bin/oxfmt'), '--check', '.'], limit_seconds: 60 },
  {
    name: 'architecture',
    says: 'boundaries and house rules',
    command: [path.join(ROOT, 'scripts/check/architecture.ts')],
    limit_seconds: 60,
  },
  {
    name: 'lint',
    says: 'oxlint with types',
    command: [bin('oxlint/bin/oxlint'), '--type-aware', '--deny-warnings'],
    limit_seconds: 120,
  },
  {
    name: 'types',
    says: 'tsc',
    command: [bin('typescript/bin/tsc'), '--noEmit', '-p', 'tsconfig.json'],
    limit_seconds: 120,
  },
  {
    name: 'dead',
    says: 'knip: dead code, dependencies',
    command: [bin('knip/bin/knip.js')],
    limit_seconds: 120,
  },
  {
    name: 'generated',
    says: 'generated files are fresh',
    command: [path.join(ROOT, 'scripts/gen.ts'), 'all', '--check'],
    limit_seconds: 120,
  },
  {
    name: 'tests',
    says: 'all tests, coverage floors',
    command: [path.join(ROOT, 'scripts/check/coverage.ts')],
    limit_seconds: 840,
  },
]

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { all: { type: 'boolean' }, only: { type: 'string' } } })
  const chosen = chooseSteps(STEPS, values.only)
  if (typeof chosen === 'string') {
    console.error(`check: ${chosen}`)
    return 2
  }
  const results: StepResult[] = []
  for (const step of chosen) {
    const is_skipped = !values.all && results.some((result) => result.outcome === 'failed')
    if (is_skipped) {
      results.push({ step, outcome: 'not run', took_ms: 0 })
      continue
    }
    console.log(`\n— ${step.name}: ${step.says}`)
    const limit_ms = step.limit_seconds * 1000
    const { code, took_ms } = await run(process.execPath, step.command, { cwd: ROOT, limit_ms })
    // Some programs end with 0 when they are told to stop.
    const is_stopped = took_ms >= limit_ms
    if (is_stopped) console.error(`${step.name} was stopped after ${step.limit_seconds} s`)
    results.push({ step, outcome: code === 0 && !is_stopped ? 'passed' : 'failed', took_ms })
  }
  for (const line of sayResults(results)) console.log(line)
  return results.every((result) => result.outcome === 'passed') ? 0 : 1
}

process.exitCode = await main()
