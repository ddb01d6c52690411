import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { run } from './run.ts'
import type { VitestReport } from './test-counts.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const VITEST = path.join(ROOT, 'node_modules/vitest/vitest.mjs')

/** Runs vitest with its filters and options, its output being ours. It left no report when it never began. */
export async function runTests(
  given: readonly string[],
): Promise<{ code: number; report: VitestReport | undefined }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'kopilka-report-'))
  const report_file = path.join(folder, 'report.json')
  try {
    const own = ['--no-isolate', '--reporter=default', '--reporter=json']
    const args = [VITEST, 'run', ...own, `--outputFile.json=${report_file}`, ...given]
    const { code } = await run(process.execPath, args, { cwd: ROOT })
    const report = existsSync(report_file)
      ? (JSON.parse(readFileSync(report_file, 'utf8')) as VitestReport)
      : undefined
    return { code, report }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
