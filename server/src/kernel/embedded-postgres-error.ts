/** What can keep the embedded database from starting; stable, for documents and for `doctor`. */
export type EmbeddedPostgresErrorCode =
  | 'invalid_option'
  | 'data_directory_unusable'
  | 'data_of_another_version'
  | 'binaries_missing'
  | 'binaries_unusable'
  | 'tool_missing'
  | 'root_refused'
  | 'user_without_name'
  | 'port_taken'
  | 'owner_unreachable'
  | 'old_server_running'
  | 'initdb_failed'
  | 'start_failed'
  | 'start_timed_out'

/** The embedded database cannot be used. `code` is stable; `hint` tells the operator what to do. */
export class EmbeddedPostgresError extends Error {
  readonly code: EmbeddedPostgresErrorCode
  readonly hint: string
  constructor(
    code: EmbeddedPostgresErrorCode,
    message: string,
    hint: string,
    options: { cause?: unknown } = {},
  ) {
    super(message, options)
    this.name = 'EmbeddedPostgresError'
    this.code = code
    this.hint = hint
  }
}

/** The way out that is open on every machine. */
export const EXTERNAL_INSTEAD = 'or set DATABASE_URL to a PostgreSQL server of your own (15 or newer)'

/** The `ENOENT`-like code of a failed system call, if the error is one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
