import type { Actor } from '#http/actor'
import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { NotFound } from '#kernel/errors'
import { MemberLimitReached } from './organizations-errors.ts'
import * as queries from './organizations-queries.ts'
import { enterToChange, getMember, refuseAbove } from './organizations.ts'

/** How much of a unit a member may use in a day, a month (UTC) or altogether, and what he used of it. */
export type MemberLimit = Omit<queries.LimitRow, 'period_start'>
export type LimitPeriod = MemberLimit['period']

/** The limits of members as they stand now. */
export async function limitsOf(
  sql: Sql,
  clock: Clock,
  member_ids: readonly string[],
): Promise<Map<string, MemberLimit[]>> {
  const now = clock.now()
  return Map.groupBy(
    (await queries.findLimits(sql, member_ids)).map((row) => present(row, now)),
    (limit) => limit.member_id,
  )
}

/** Sets a limit; admins and owners may, for members of at most their own role. Throws as `enterToChange`. */
export async function setMemberLimit(
  tx: Tx,
  clock: Clock,
  actor: Actor,
  input: { organization_id: string; member_id: string; unit: string; amount: bigint; period: LimitPeriod },
): Promise<MemberLimit> {
  const { organization_id, member_id, unit, amount, period } = input
  const standing = await enterToChange(tx, actor, organization_id, 'admin')
  const member = await getMember(tx, organization_id, member_id)
  refuseAbove(standing, member.role)
  const now = clock.now()
  const before = await queries.lockLimit(tx, { member_id, unit })
  const used = before?.period === period ? present(before, now).used : 0n
  const row = { member_id, unit, amount, period, used, period_start: startOf(period, now), updated_at: now }
  return present(await queries.upsertLimit(tx, row), now)
}

/** Takes a limit away. Throws as {@link setMemberLimit}; {@link NotFound} when there is none. */
export async function removeMemberLimit(
  tx: Tx,
  actor: Actor,
  input: { organization_id: string; member_id: string; unit: string },
): Promise<void> {
  const standing = await enterToChange(tx, actor, input.organization_id, 'admin')
  const member = await getMember(tx, input.organization_id, input.member_id)
  refuseAbove(standing, member.role)
  if (!(await queries.deleteLimit(tx, input))) throw new NotFound('There is no such limit.')
}

/**
 * Counts what a member is about to use, in the transaction that spends it: both or neither. A member's
 * requests wait for each other here. Throws {@link MemberLimitReached}.
 */
export async function countMemberUse(
  tx: Tx,
  clock: Clock,
  use: { member_id: string; unit: string; amount: bigint },
): Promise<void> {
  const row = await queries.lockLimit(tx, use)
  if (!row) return
  const now = clock.now()
  const limit = present(row, now)
  const used = limit.used + use.amount
  if (used > limit.amount) {
    throw new MemberLimitReached(
      `This member may use ${limit.amount} a ${limit.period} and used ${limit.used}.`,
      {
        unit: limit.unit,
        limit: limit.amount,
        used: limit.used,
        period: limit.period,
      },
    )
  }
  await queries.upsertLimit(tx, { ...row, used, period_start: startOf(row.period, now), updated_at: now })
}

function present(row: queries.LimitRow, now: Date): MemberLimit {
  const { period_start, ...limit } = row
  return period_start.getTime() === startOf(row.period, now).getTime() ? limit : { ...limit, used: 0n }
}

function startOf(period: LimitPeriod, now: Date): Date {
  if (period === 'total') return new Date(0)
  const day = period === 'day' ? now.getUTCDate() : 1
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), day))
}
