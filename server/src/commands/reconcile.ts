import { parseArgs } from 'node:util'
import { runReconciliation, type Difference } from '#modules/payments'
import { startApp } from '../app.ts'
import { boot } from './boot.ts'

const USAGE = 'reconcile --gateway ID [--from 2026-01-01] [--to 2026-01-02]; default: yesterday, in UTC'
const DAY_MS = 86_400_000

/**
 * Compares a gateway's own list with our books and prints what differs, and keeps that as a
 * reconciliation; changes no payment. Exit code 1 on
 * differences.
 */
export async function reconcileCommand(words: string[]): Promise<void> {
  const { values } = parseArgs({
    args: words,
    options: { gateway: { type: 'string' }, from: { type: 'string' }, to: { type: 'string' } },
  })
  const today = new Date(Math.floor(Date.now() / DAY_MS) * DAY_MS)
  const from = values.from === undefined ? new Date(today.getTime() - DAY_MS) : new Date(values.from)
  const to = values.to === undefined ? new Date(from.getTime() + DAY_MS) : new Date(values.to)
  if (values.gateway === undefined || Number.isNaN(from.getTime()) || Number.isNaN(to.getTime())) {
    process.stderr.write(`${USAGE}\n`)
    process.exitCode = 2
    return
  }
  const { database, settings } = await boot()
  const app = await startApp({ ...settings, roles: [] })
  try {
    const found = await runReconciliation(app.db, app.payments, { gateway: values.gateway, from, to })
    process.stdout.write(
      `${found.gateway}, ${from.toISOString()} to ${to.toISOString()}: ` +
        `payments ${found.payments_here} here, ${found.payments_at_vendor} at the vendor; ` +
        `refunds ${found.refunds_here} here, ${found.refunds_at_vendor} at the vendor.\n`,
    )
    if (found.method === 'one_by_one')
      process.stdout.write('This vendor has no list: what it knows and we do not was not looked for.\n')
    for (const difference of found.differences) process.stdout.write(`${sayDifference(difference)}\n`)
    process.stdout.write(found.differences.length === 0 ? 'No differences.\n' : '')
    if (found.differences.length > 0) process.exitCode = 1
  } finally {
    await app.stop()
    await database.stop()
  }
}

function sayDifference({ kind, id, external_id, ours, theirs, proposed }: Difference): string {
  return `${kind}  ${id ?? '-'}  ${external_id ?? '-'}\n  ours: ${ours}; theirs: ${theirs}\n  ${proposed}`
}
