import type { Sql } from '#kernel/db'
import { findTotp } from './totp-queries.ts'

/** Whether a user has a second factor that was confirmed. */
export async function hasSecondFactor(sql: Sql, user_id: string): Promise<boolean> {
  const totp = await findTotp(sql, user_id)
  return totp !== undefined && totp.confirmed_at !== null
}
