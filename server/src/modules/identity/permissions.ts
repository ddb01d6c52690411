import type { Sql } from '#kernel/db'

/** What users may do as staff, by user id. Users who are no staff are missing. */
export type PermissionsOf = (
  sql: Sql,
  user_ids: readonly string[],
) => Promise<ReadonlyMap<string, ReadonlySet<string>>>

/** Without roles nobody is staff. */
export const nobodyIsStaff: PermissionsOf = () => Promise.resolve(new Map())
