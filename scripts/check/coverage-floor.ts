import path from 'node:path'

/** The part of the `json-summary` coverage report that is read here: figures by absolute file name. */
export type CoverageSummary = Readonly<Record<string, { lines: { total: number; covered: number } }>>

/** Least share of lines that tests must reach, in percent. */
export interface Floor {
  name: string
  /** Files below this folder, from the root of the repository; all files when empty. */
  folder: string
  percent: number
}

/** Money goes through these modules: a line nobody ran there is a line nobody knows. */
const STRICT_MODULES = ['ledger', 'payments', 'subscriptions', 'promotions', 'policy']

export const FLOORS: readonly Floor[] = [
  { name: 'all', folder: '', percent: 85 },
  ...STRICT_MODULES.map((name) => ({ name, folder: `server/src/modules/${name}/`, percent: 95 })),
]

export interface FloorResult {
  name: string
  percent: number
  floor: number
  is_reached: boolean
}

/** Holds a coverage report against the floors; a floor whose folder has no files is left out. */
export function judgeCoverage(
  summary: CoverageSummary,
  root: string,
  floors: readonly Floor[] = FLOORS,
): FloorResult[] {
  const files = Object.entries(summary)
    .filter(([name]) => name !== 'total')
    .map(([name, { lines }]) => ({ name: path.relative(root, name).replaceAll(path.sep, '/'), lines }))
  return floors.flatMap(({ name, folder, percent: floor }) => {
    const own = files.filter((file) => file.name.startsWith(folder))
    const total = own.reduce((sum, file) => sum + file.lines.total, 0)
    if (total === 0) return []
    const covered = own.reduce((sum, file) => sum + file.lines.covered, 0)
    return [{ name, percent: (100 * covered) / total, floor, is_reached: 100 * covered >= floor * total }]
  })
}

/** One line per floor: `ledger 96.1 % of lines, 95 % wanted`. */
export function sayCoverage(results: readonly FloorResult[]): string[] {
  return results.map(({ name, percent, floor, is_reached }) => {
    // Rounded down, so that 94.97 is not shown as the 95 it does not reach.
    const shown = (Math.floor(percent * 10) / 10).toFixed(1)
    const verdict = is_reached ? 'ok  ' : 'LOW '
    return `${verdict} ${name.padEnd(14)} ${shown.padStart(5)} % of lines, ${floor} % wanted`
  })
}
