/** One thing that is checked: a program for this Node, with its arguments. */
export interface Step {
  name: string
  says: string
  command: readonly [string, ...string[]]
  limit_seconds: number
}

export interface StepResult {
  step: Step
  outcome: 'passed' | 'failed' | 'not run'
  took_ms: number
}

/** The steps named in `only` (`format,types`), in their own order; all without it. A text is an error. */
export function chooseSteps(steps: readonly Step[], only: string | undefined): readonly Step[] | string {
  if (only === undefined) return steps
  const names = only.split(',').map((name) => name.trim())
  const unknown = names.filter((name) => !steps.some((step) => step.name === name))
  if (unknown.length > 0)
    return `no step is called ${unknown.join(', ')}; known: ${steps.map(({ name }) => name).join(', ')}`
  return steps.filter((step) => names.includes(step.name))
}

/** The table at the end: a step a line, and the whole. */
export function sayResults(results: readonly StepResult[]): string[] {
  const seconds = (took_ms: number): string => `${(took_ms / 1000).toFixed(1).padStart(7)} s`
  const timeOf = (outcome: StepResult['outcome'], took_ms: number): string =>
    outcome === 'not run' ? ' '.repeat(9) : seconds(took_ms)
  const lines = results.map(
    ({ step, outcome, took_ms }) =>
      `${outcome.padEnd(8)}${timeOf(outcome, took_ms)}  ${step.name.padEnd(13)} ${step.says}`,
  )
  const total = results.reduce((sum, { took_ms }) => sum + took_ms, 0)
  const failed = results.filter(({ outcome }) => outcome === 'failed').map(({ step }) => step.name)
  const verdict = failed.length === 0 ? 'check passed' : `check failed: ${failed.join(', ')}`
  return ['', ...lines, `${''.padEnd(8)}${seconds(total)}  ${verdict}`]
}
