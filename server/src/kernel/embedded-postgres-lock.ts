import { spawnSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { EmbeddedPostgresError, EXTERNAL_INSTEAD, systemCode } from './embedded-postgres-error.ts'

/** Finds system programs without handing the server's own environment (with its secrets) to them. */
export const BARE_ENVIRONMENT =
  process.platform === 'win32'
    ? undefined
    : { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' }

/** Where open() itself takes a lock: O_EXLOCK | O_NONBLOCK on macOS, libuv's UV_FS_O_EXLOCK on Windows. */
const LOCKING_OPEN: Readonly<Record<string, number>> = { darwin: 0x20 | 0x4, win32: 0x1000_0000 }

/** A lock of the operating system: it ends with the last process that holds `fd`, however that one ends. */
export interface FileLock {
  fd: number
  /** Gives up this process's hold; a child that inherited `fd` keeps its own. Repeatable. */
  release(): void
}

/**
 * Takes the file's lock, or answers `undefined` at once when somebody has it. A process id in a file would do
 * worse: ids are reused, and another container's mean nothing here, while the kernel's lock is seen by all.
 * Throws {@link EmbeddedPostgresError} `data_directory_unusable` or `tool_missing`.
 */
export function lockFile(file: string): FileLock | undefined {
  const locking = LOCKING_OPEN[process.platform]
  const fd = openToLock(file, locking ?? 0)
  if (fd === undefined) return undefined
  if (locking === undefined && !flock(file, fd)) {
    closeSync(fd)
    return undefined
  }
  let is_held = true
  return {
    fd,
    release: () => {
      if (is_held) closeSync(fd)
      is_held = false
    },
  }
}

function openToLock(file: string, locking: number): number | undefined {
  try {
    return openSync(file, constants.O_RDWR | constants.O_CREAT | locking, 0o600)
  } catch (error) {
    const code = systemCode(error)
    if (locking !== 0 && (code === 'EAGAIN' || code === 'EBUSY')) return undefined
    throw new EmbeddedPostgresError(
      'data_directory_unusable',
      `${file} cannot be opened (${code})`,
      `Give the user who runs Kopilka the data directory and all that is in it, ${EXTERNAL_INSTEAD}.`,
      { cause: error },
    )
  }
}

/** Node has no flock(2). The lock belongs to the open file, which flock(1) inherits: it outlives flock(1). */
function flock(file: string, fd: number): boolean {
  const done = spawnSync('flock', ['-n', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', fd],
    env: BARE_ENVIRONMENT,
    timeout: 10_000,
  })
  if (done.status === 0) return true
  if (done.status === 1) return false
  closeSync(fd)
  if (systemCode(done.error) === 'ENOENT') {
    throw new EmbeddedPostgresError(
      'tool_missing',
      'the program flock is not installed',
      `Install util-linux, ${EXTERNAL_INSTEAD}.`,
    )
  }
  throw new EmbeddedPostgresError(
    'data_directory_unusable',
    `${file} cannot be locked: ${String(done.stderr).trim()}`,
    `Choose a data directory on a file system with locks, ${EXTERNAL_INSTEAD}.`,
    { cause: done.error },
  )
}

/** What the owner of a running server tells those who want to attach. */
export interface Owner {
  pid: number
  port: number
  postgres_pid: number
}

/** Announces the running server. Appears whole or not at all. */
export function writeOwner(file: string, owner: Owner): void {
  writeFileSync(`${file}.new`, `${owner.pid}\n${owner.port}\n${owner.postgres_pid}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** Reads the announcement; `undefined` when there is none yet or the text is not one. */
export function readOwner(file: string): Owner | undefined {
  const text = readIfThere(file)
  const match = text === undefined ? null : /^(\d{1,10})\n(\d{1,5})\n(\d{1,10})\n$/.exec(text)
  return match ? { pid: Number(match[1]), port: Number(match[2]), postgres_pid: Number(match[3]) } : undefined
}

export function removeOwner(file: string): void {
  rmSync(file, { force: true })
}

/** The text of a file, or `undefined` when there is no such file. */
export function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
