import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { countTests, filesToRepeat, sayCounts } from './check/test-counts.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const folder = mkdtempSync(path.join(tmpdir(), 'kopilka-test-command-'))
symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the command on test files of its own, in an environment where `node` is not this one. */
function runTests(files: Record<string, string>, name: string): { status: number | null; lines: string[] } {
  const root = path.join(folder, name)
  mkdirSync(root)
  for (const [file, text] of Object.entries(files)) writeFileSync(path.join(root, file), text)
  writeFileSync(path.join(root, 'vitest.config.mjs'), 'export default { test: { maxWorkers: 1 } }\n')
  const args = [
    path.join(ROOT, 'scripts/test.ts'),
    '--root',
    root,
    '--config',
    path.join(root, 'vitest.config.mjs'),
  ]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 60_000,
    env: { PATH: '/usr/bin:/bin', HOME: folder },
  })
  return { status, lines: `${stderr}${stdout}`.trimEnd().split('\n') }
}

const SKIP = ['test', 'skip'].join('.')
const head = "import { expect, test } from 'vitest'\n"
const good = `${head}test('adds', () => expect(1 + 1).toBe(2))\n`
const old_node = `${head}import { execFileSync } from 'node:child_process'
test('a child called node is this Node', () => {
  expect(String(execFileSync('node', ['-p', 'process.version'])).trim()).toBe(process.version)
})\n`

describe('npm test', () => {
  test('ends with the counts and 0 when all is well, and puts this Node first on the PATH of tests', () => {
    const { status, lines } = runTests({ 'a.test.mjs': good, 'b.test.mjs': old_node }, 'good')
    expect([status, lines.at(-1)]).toEqual([0, '2 passed, 0 failed'])
  })

  test('ends with the counts and 1 when a test fails', () => {
    const bad = `${good}test('adds wrongly', () => expect(1 + 1).toBe(3))\n${SKIP}('later', () => {})\n`
    const { status, lines } = runTests({ 'a.test.mjs': bad }, 'bad')
    expect([status, lines.at(-1)]).toEqual([1, '1 passed, 1 failed, 1 skipped'])
  })

  test('counts a file that does not load as failed', () => {
    const { status, lines } = runTests(
      { 'a.test.mjs': good, 'b.test.mjs': "import './nowhere.mjs'\n" },
      'broken',
    )
    expect([status, lines.at(-1)]).toEqual([1, '1 passed, 1 failed'])
  })
})

describe('Counting', () => {
  const report = { numPassedTests: 3, numFailedTests: 0, numPendingTests: 0, testResults: [] }

  test('a run that ended badly without a failed test is not a good run', () => {
    expect(countTests(report, 1)).toEqual({ passed: 3, failed: 1, skipped: 0 })
    expect(countTests(undefined, 1)).toEqual({ passed: 0, failed: 1, skipped: 0 })
  })

  test('a good run without tests of its own says so plainly', () => {
    expect(sayCounts(countTests({ ...report, numPassedTests: 0 }, 0))).toBe('0 passed, 0 failed')
  })

  test('one or two files that failed are run again, more are not, nor a run without a report', () => {
    const file = (name: string, status: string) => ({ name, status, assertionResults: [] })
    const of = (...testResults: ReturnType<typeof file>[]) => filesToRepeat({ ...report, testResults })
    expect(of(file('a', 'passed'), file('b', 'failed'), file('c', 'failed'))).toEqual(['b', 'c'])
    expect(of(file('a', 'failed'), file('b', 'failed'), file('c', 'failed'))).toEqual([])
    expect(of(file('a', 'passed'))).toEqual([])
    expect(filesToRepeat(undefined)).toEqual([])
  })
})
