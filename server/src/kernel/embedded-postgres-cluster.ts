import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { EmbeddedPostgresError, EXTERNAL_INSTEAD, systemCode } from './embedded-postgres-error.ts'
import { give, giveTree, launch, type Launcher } from './embedded-postgres-launch.ts'
import { readIfThere, type FileLock } from './embedded-postgres-lock.ts'

export const SUPERUSER = 'postgres'
/** initdb takes 0.8 s on an idle machine; a loaded one with a slow disk needs many times that. */
const PROGRAM_TIMEOUT_MS = 120_000
const LOG_BYTES_MAX = 1_000_000

/** The files of a data directory. */
export interface Layout {
  directory: string
  /** The cluster. Exists only when it is whole. */
  cluster: string
  /** A cluster in the making; worth nothing when its maker is gone. */
  unfinished: string
  postmaster_pid: string
  /** Locked by the process that owns the server. */
  owner_lock: string
  /** Locked by the owner and by every process of the server, so also by a server that outlives its owner. */
  server_lock: string
  owner: string
  superuser_password: string
  role_password: string
  log: string
}

/**
 * Makes the directory if need be and names its files.
 * Throws {@link EmbeddedPostgresError} `data_directory_unusable`.
 */
export function layOut(data_directory: string): Layout {
  const directory = path.resolve(data_directory)
  const at = (name: string): string => path.join(directory, name)
  try {
    // What it lies in may be entered by others: PostgreSQL may have to run as somebody else.
    mkdirSync(path.dirname(directory), { recursive: true })
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new EmbeddedPostgresError(
      'data_directory_unusable',
      `the data directory ${directory} cannot be made (${systemCode(error)})`,
      `Make it and give it to the user who runs Kopilka, name another one, ${EXTERNAL_INSTEAD}.`,
      { cause: error },
    )
  }
  if (existsSync(at('PG_VERSION'))) {
    throw new EmbeddedPostgresError(
      'data_directory_unusable',
      `${directory} is the directory of another PostgreSQL`,
      'Name a directory of its own for Kopilka, or start that PostgreSQL and set DATABASE_URL.',
    )
  }
  return {
    directory,
    cluster: at('cluster'),
    unfinished: at('cluster.unfinished'),
    postmaster_pid: at('cluster/postmaster.pid'),
    owner_lock: at('owner.lock'),
    server_lock: at('server.lock'),
    owner: at('owner.pid'),
    superuser_password: at('superuser.password'),
    role_password: at('kopilka.password'),
    log: at('postgres.log'),
  }
}

export interface Passwords {
  superuser_password: string
  role_password: string
}

/** A password as kept in its file; `undefined` when there is none. Throws `data_directory_unusable`. */
export function readPassword(file: string): string | undefined {
  try {
    return readIfThere(file)?.trim() || undefined
  } catch (error) {
    throw new EmbeddedPostgresError(
      'data_directory_unusable',
      `${file} cannot be read (${systemCode(error)})`,
      'Run Kopilka as the user who owns the data directory.',
      { cause: error },
    )
  }
}

/** Keeps a password where only the owner of the directory reads it; it is on the disk when this returns. */
function writePassword(launcher: Launcher, file: string, password: string): void {
  writeFileSync(`${file}.new`, `${password}\n`, { mode: 0o600, flush: true })
  give(launcher, `${file}.new`)
  renameSync(`${file}.new`, file)
}

/** 144 random bits in letters that need no escaping in an URL. */
function newPassword(): string {
  return randomBytes(18).toString('base64url')
}

/**
 * Leaves a whole cluster of this version and both passwords. An initdb that was cut short is done again from
 * the start; a finished cluster is never made anew. A lost password file is replaced by a new password.
 * To be called by the holder of both locks. Throws {@link EmbeddedPostgresError} `initdb_failed`,
 * `data_of_another_version` or `data_directory_unusable`.
 */
export async function ensureCluster(
  launcher: Launcher,
  layout: Layout,
  lock: FileLock,
  options: { may_skip_sync: boolean },
): Promise<Passwords & { is_new: boolean }> {
  const is_made = existsSync(layout.cluster)
  if (is_made) checkCluster(launcher, layout)
  let superuser_password = readPassword(layout.superuser_password)
  if (!superuser_password) {
    superuser_password = newPassword()
    if (is_made) await replaceSuperuserPassword(launcher, layout, lock, superuser_password)
    writePassword(launcher, layout.superuser_password, superuser_password)
  }
  let role_password = readPassword(layout.role_password)
  if (!role_password) {
    role_password = newPassword()
    writePassword(launcher, layout.role_password, role_password)
  }
  // Written by an earlier start, perhaps as another user.
  for (const file of [layout.superuser_password, layout.role_password]) give(launcher, file)
  if (!is_made) await makeCluster(launcher, layout, lock, options)
  return { superuser_password, role_password, is_new: !is_made }
}

function checkCluster(launcher: Launcher, layout: Layout): void {
  const version = readIfThere(path.join(layout.cluster, 'PG_VERSION'))?.trim()
  if (version === undefined) {
    throw new EmbeddedPostgresError(
      'data_directory_unusable',
      `${layout.cluster} is not a PostgreSQL cluster`,
      'Nothing was changed. Restore the data directory from a backup, or name an empty one.',
    )
  }
  const { major } = launcher.binaries
  if (version !== major) {
    throw new EmbeddedPostgresError(
      'data_of_another_version',
      `${layout.cluster} was written by PostgreSQL ${version}, this version of Kopilka brings ${major}`,
      'Nothing was changed. Back it up with the Kopilka that wrote it and restore it with this one.',
    )
  }
  const user = launcher.ids.uid ?? process.getuid?.()
  const { uid } = statSync(layout.cluster)
  if (user === undefined || uid === user) return
  // Root owned it, in a user namespace; now there are none, and the same root may hand it over.
  if (launcher.mode === 'setuid') return giveTree(launcher, layout.directory)
  throw new EmbeddedPostgresError(
    'data_directory_unusable',
    `${layout.cluster} belongs to user ${uid}, not to ${user}`,
    `Run Kopilka as user ${uid}, or give the whole data directory to user ${user} with chown -R.`,
  )
}

/**
 * For the making alone, which a first start waits for: what is named need not be found out by trying, and
 * little memory is little to clear. The server is told its own at each start, which win.
 */
const MAKING = ['max_connections=25', 'shared_buffers=16MB', 'wal_init_zero=off']

async function makeCluster(
  launcher: Launcher,
  layout: Layout,
  lock: FileLock,
  options: { may_skip_sync: boolean },
): Promise<void> {
  rmSync(layout.unfinished, { recursive: true, force: true })
  await runToEnd(launcher, layout, lock, 'initdb', [
    '-D',
    layout.unfinished,
    '-U',
    SUPERUSER,
    `--pwfile=${layout.superuser_password}`,
    '--auth=scram-sha-256',
    // Code point order and Unicode case, the same on every system and after every update of its libraries:
    // indexes on text stay right.
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
    '--no-instructions',
    ...MAKING.flatMap((setting) => ['-c', setting]),
    ...(options.may_skip_sync ? ['--no-sync'] : []),
  ])
  renameSync(layout.unfinished, layout.cluster)
  if (process.platform !== 'win32' && !options.may_skip_sync) syncFolder(layout.directory)
}

/** Makes a rename survive a power cut. */
function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  fsyncSync(fd)
  closeSync(fd)
}

async function replaceSuperuserPassword(
  launcher: Launcher,
  layout: Layout,
  lock: FileLock,
  password: string,
): Promise<void> {
  const { setPasswordStatement } = await import('./embedded-postgres-queries.ts')
  const args = ['--single', '-D', layout.cluster, '-c', 'exit_on_error=on', 'template1']
  await runToEnd(launcher, layout, lock, 'postgres', args, `${setPasswordStatement(SUPERUSER, password)}\n`)
}

async function runToEnd(
  launcher: Launcher,
  layout: Layout,
  lock: FileLock,
  name: 'initdb' | 'postgres',
  args: readonly string[],
  input?: string,
): Promise<void> {
  const log = openLog(launcher, layout)
  try {
    const child = launch(launcher, name, args, {
      directory: layout.directory,
      log_fd: log.fd,
      lock_fd: lock.fd,
      ...(input === undefined ? {} : { stdin: 'pipe' }),
    })
    // A program that ends before it has read its input is reported by its exit code.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
    const timer = setTimeout(() => child.kill('SIGTERM'), PROGRAM_TIMEOUT_MS)
    try {
      const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
      if (code === 0) return
      throw new EmbeddedPostgresError(
        name === 'initdb' ? 'initdb_failed' : 'start_failed',
        `${name} ended with ${code ?? signal}: ${log.readNew()}`,
        `Look for the reason in ${layout.log}; often the disk is full. It is safe to start again.`,
      )
    } finally {
      clearTimeout(timer)
    }
  } finally {
    closeSync(log.fd)
  }
}

/** Opens the log at its end; begins a new one, keeping the last, when it has grown over a megabyte. */
export function openLog(launcher: Launcher, layout: Layout): { fd: number; readNew: () => string } {
  const size = statSync(layout.log, { throwIfNoEntry: false })?.size ?? 0
  if (size > LOG_BYTES_MAX) renameSync(layout.log, `${layout.log}.old`)
  const fd = openSync(layout.log, 'a', 0o600)
  give(launcher, layout.log)
  const start = size > LOG_BYTES_MAX ? 0 : size
  return { fd, readNew: () => readEnd(layout.log, start) }
}

/** The last 2 000 bytes of what a file got since it had `start` bytes. */
function readEnd(file: string, start: number): string {
  const fd = openSync(file, 'r')
  try {
    const from = Math.max(start, statSync(file).size - 2_000)
    const buffer = Buffer.alloc(2_000)
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, from)).trim()
  } finally {
    closeSync(fd)
  }
}
