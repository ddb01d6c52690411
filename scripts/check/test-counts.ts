/** The part of vitest's JSON report that is read here. */
export interface VitestReport {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  testResults: readonly { name: string; status: string; assertionResults: readonly { status: string }[] }[]
}

export interface TestCounts {
  passed: number
  failed: number
  skipped: number
}

/**
 * Counts a run. A file that could not be loaded, or failed in a hook, counts as one failed test; so does a
 * run that ended badly although no test failed, or that left no report.
 */
export function countTests(report: VitestReport | undefined, exit_code: number): TestCounts {
  if (!report) return { passed: 0, failed: 1, skipped: 0 }
  const broken_files = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((result) => result.status === 'failed'),
  ).length
  const failed = report.numFailedTests + broken_files
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && exit_code !== 0 ? 1 : failed,
    skipped: report.numPendingTests,
  }
}

/** The closing line: `12 passed, 0 failed`. */
export function sayCounts({ passed, failed, skipped }: TestCounts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

/** More files than this that fail at once are no accident. */
const SECOND_RUN_MAX = 2

/**
 * Files whose failed tests deserve a second run, alone: on a machine that is shared a test that waits may be
 * overtaken by what goes on beside it. None when too many failed, or when the run itself ended badly.
 */
export function filesToRepeat(report: VitestReport | undefined): string[] {
  const failed = (report?.testResults ?? []).filter(({ status }) => status === 'failed')
  return failed.length > SECOND_RUN_MAX ? [] : failed.map(({ name }) => name)
}
