import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { FLOORS, judgeCoverage, sayCoverage } from './check/coverage-floor.ts'
import { run } from './check/run.ts'
import { chooseSteps, sayResults, type Step, type StepResult } from './check/steps.ts'

const step = (name: string): Step => ({ name, says: `says ${name}`, command: ['x'], limit_seconds: 1 })
const result = (name: string, outcome: StepResult['outcome'], took_ms: number): StepResult => ({
  step: step(name),
  outcome,
  took_ms,
})

describe('The list of checks', () => {
  const steps = ['format', 'types', 'tests'].map(step)

  test('is run whole, or in part by name, in its own order', () => {
    expect(chooseSteps(steps, undefined)).toEqual(steps)
    expect(chooseSteps(steps, 'tests, format')).toEqual([steps[0], steps[2]])
  })

  test('names what it knows when asked for something else', () => {
    expect(chooseSteps(steps, 'format,nonsense')).toBe(
      'no step is called nonsense; known: format, types, tests',
    )
  })

  test('ends in a table with times, what failed and what was not run', () => {
    expect(
      sayResults([
        result('format', 'passed', 240),
        result('types', 'failed', 61_000),
        result('tests', 'not run', 0),
      ]),
    ).toEqual([
      '',
      'passed      0.2 s  format        says format',
      'failed     61.0 s  types         says types',
      'not run            tests         says tests',
      '           61.2 s  check failed: types',
    ])
    expect(sayResults([result('format', 'passed', 1000)]).at(-1)).toContain('check passed')
  })

  test('refuses an unknown step before anything runs', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [path.join(import.meta.dirname, 'check.ts'), '--only', 'nonsense'],
      {
        encoding: 'utf8',
      },
    )
    expect(status).toBe(2)
    expect(stderr).toContain('known: format, architecture, lint, types, dead, generated, tests')
  })
})

describe('Running a program', () => {
  const options = { cwd: import.meta.dirname }

  test('answers its exit code', async () => {
    expect((await run(process.execPath, ['-e', 'process.exit(3)'], options)).code).toBe(3)
  })

  test('ends one that takes too long and counts it as failed', async () => {
    const { code, took_ms } = await run(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      ...options,
      limit_ms: 300,
    })
    expect(code).toBe(128)
    expect(took_ms).toBeGreaterThanOrEqual(300)
  })

  test('leaves no listener for signals behind', async () => {
    const before = process.listenerCount('SIGTERM')
    await run(process.execPath, ['-e', ''], options)
    expect(process.listenerCount('SIGTERM')).toBe(before)
  })
})

describe('Coverage floors', () => {
  const lines = (total: number, covered: number) => ({ lines: { total, covered } })
  const root = path.resolve('/repository')
  const file = (name: string): string => path.join(root, name)

  test('count lines over all files of a folder, not the mean of files', () => {
    const summary = {
      total: lines(0, 0),
      [file('server/src/modules/ledger/a.ts')]: lines(900, 900),
      [file('server/src/modules/ledger/b.ts')]: lines(100, 10),
      [file('server/src/app.ts')]: lines(1000, 800),
    }
    expect(judgeCoverage(summary, root)).toEqual([
      { name: 'all', percent: 85.5, floor: 85, is_reached: true },
      { name: 'ledger', percent: 91, floor: 95, is_reached: false },
    ])
  })

  test('are reached exactly, and a share just below is not shown as reached', () => {
    const just = judgeCoverage({ [file('server/src/modules/policy/a.ts')]: lines(100, 95) }, root)
    expect(just.at(-1)).toMatchObject({ name: 'policy', is_reached: true })
    const below = judgeCoverage({ [file('server/src/modules/policy/a.ts')]: lines(10_000, 9499) }, root)
    expect(sayCoverage(below).at(-1)).toBe('LOW  policy          94.9 % of lines, 95 % wanted')
  })

  test('are strict for every module that moves money', () => {
    expect(FLOORS.filter((floor) => floor.percent > 90).map((floor) => floor.name)).toEqual([
      'ledger',
      'payments',
      'subscriptions',
      'promotions',
      'policy',
    ])
  })
})
