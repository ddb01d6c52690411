import type { Db } from '#kernel/db'
import { hasJobTables } from '#kernel/job-queries'
import { countFailedEvents } from '#modules/payments'
import type { Check, Finding } from './doctor.ts'

/** Whether vendors told of something that was given up: it may be money. */
export function inboxCheck(db: Db): Check {
  const subject = 'inbox'
  return {
    subject,
    look: async () => {
      if (!(await hasJobTables(db))) return []
      const failed = Object.entries(await countFailedEvents(db))
      if (failed.length === 0) return [{ level: 'ok', subject, detail: 'no notification was given up' }]
      return failed.map(([gateway, count]): Finding => ({
        level: 'warning',
        subject,
        detail: `${count} notifications of ${gateway} were given up`,
        advice: 'See why: `kopilka inbox list`. When that is mended: `kopilka inbox retry --all`.',
      }))
    },
  }
}
