/** Runs all tests with coverage and holds the figures against the floors. Exit code 1 when either fails. */
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { judgeCoverage, sayCoverage, type CoverageSummary } from './coverage-floor.ts'
import { run } from './run.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const SUMMARY = path.join(ROOT, 'coverage/coverage-summary.json')

// A report of an earlier run must not be judged in place of this one's.
rmSync(SUMMARY, { force: true })
const tests = path.join(ROOT, 'scripts/test.ts')
const { code } = await run(process.execPath, [tests, '--coverage', ...process.argv.slice(2)], { cwd: ROOT })
if (code !== 0) process.exit(code)
const results = judgeCoverage(JSON.parse(readFileSync(SUMMARY, 'utf8')) as CoverageSummary, ROOT)
for (const line of sayCoverage(results)) console.log(line)
process.exitCode = results.every((result) => result.is_reached) ? 0 : 1
