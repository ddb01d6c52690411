/**
 * Runs the tests: `npm test`, or `npm test -- <vitest's filters and options>`. The last line of the output is
 * always `N passed, N failed`; the exit code is 0 only when nothing failed.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { run } from './check/run.ts'
import { countTests, sayCounts, type VitestReport } from './check/test-counts.ts'

const ROOT = path.resolve(import.meta.dirname, '..')
const VITEST = path.join(ROOT, 'node_modules/vitest/vitest.mjs')

async function main(given: readonly string[]): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'kopilka-report-'))
  const report_file = path.join(folder, 'report.json')
  try {
    const own = ['--maxWorkers=2', '--no-isolate', '--reporter=default', '--reporter=json']
    const args = [VITEST, 'run', ...own, `--outputFile.json=${report_file}`, ...given]
    const { code } = await run(process.execPath, args, { cwd: ROOT })
    const report = existsSync(report_file)
      ? (JSON.parse(readFileSync(report_file, 'utf8')) as VitestReport)
      : undefined
    const counts = countTests(report, code)
    console.log(sayCounts(counts))
    return counts.failed > 0 ? 1 : code
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = await main(process.argv.slice(2))
