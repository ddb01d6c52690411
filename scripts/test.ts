/**
 * Runs the tests: `npm test`, or `npm test -- <vitest's filters and options>`. The last line of the output is
 * always `N passed, N failed`; the exit code is 0 only when nothing failed.
 */
import { runTests } from './check/run-tests.ts'
import { countTests, sayCounts } from './check/test-counts.ts'

const { code, report } = await runTests(process.argv.slice(2))
const counts = countTests(report, code)
console.log(sayCounts(counts))
process.exitCode = counts.failed > 0 ? 1 : code
