/**
 * Runs all tests with coverage and holds the figures against the floors. Exit code 1 when either fails. One
 * or two files that fail are run once more, alone.
 */
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { judgeCoverage, sayCoverage, type CoverageSummary } from './coverage-floor.ts'
import { runTests } from './run-tests.ts'
import { countTests, filesToRepeat, sayCounts } from './test-counts.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const SUMMARY = path.join(ROOT, 'coverage/coverage-summary.json')

// A report of an earlier run must not be judged in place of this one's.
rmSync(SUMMARY, { force: true })
const { code, report } = await runTests(['--coverage', ...process.argv.slice(2)])
console.log(sayCounts(countTests(report, code)))
if (code !== 0) await repeatAlone(filesToRepeat(report))
const results = judgeCoverage(JSON.parse(readFileSync(SUMMARY, 'utf8')) as CoverageSummary, ROOT)
for (const line of sayCoverage(results)) console.log(line)
process.exitCode = results.every((result) => result.is_reached) ? 0 : 1

/** What fails again fails the check; what passes alone is named, for somebody to mend. */
async function repeatAlone(files: readonly string[]): Promise<void> {
  if (files.length === 0) process.exit(1)
  const again = await runTests(files)
  console.log(sayCounts(countTests(again.report, again.code)))
  if (again.code !== 0) process.exit(1)
  for (const file of files) console.log(`UNSTEADY ${path.relative(ROOT, file)}: failed once, passed alone`)
}
