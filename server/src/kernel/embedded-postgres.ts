import { setTimeout as sleep } from 'node:timers/promises'
import { findBinaries } from './embedded-postgres-binaries.ts'
import {
  ensureCluster,
  layOut,
  readPassword,
  SUPERUSER,
  type Layout,
  type Passwords,
} from './embedded-postgres-cluster.ts'
import { EmbeddedPostgresError, EXTERNAL_INSTEAD } from './embedded-postgres-error.ts'
import { chooseLauncher, give, stopWithUs, type Launcher } from './embedded-postgres-launch.ts'
import { lockFile, readOwner, removeOwner, writeOwner, type FileLock } from './embedded-postgres-lock.ts'
import { isDatabaseUnavailable } from './errors.ts'
import { endServer, hasEnded, lockServer, startServer, type Server } from './embedded-postgres-server.ts'

export { EmbeddedPostgresError } from './embedded-postgres-error.ts'

/** A running embedded server. */
export interface EmbeddedPostgres {
  /** For the application: the ordinary role `kopilka`, owner of the database. */
  url: string
  /** For the operator: the superuser, in the same database. */
  superuser_url: string
  /** How the server runs, or `attached` when another process owns it. */
  mode: 'direct' | 'userns' | 'setuid' | 'attached'
  /** Of the server's main process. */
  pid: number
  /** Stops the server and rolls back what is under way; takes two minutes at most. No-op when attached. */
  stop(): Promise<void>
}

export interface EmbeddedPostgresOptions {
  /** Made when missing. Holds the cluster, both passwords, locks and the log. */
  data_directory: string
  /** Default `kopilka`. Created when missing. */
  database?: string
  /** Default: one the system chooses. */
  port?: number
  /** Further settings, `name=value` each; they win over ours. */
  flags?: readonly string[]
  /** For tests, which clone databases. */
  may_create_databases?: boolean
  /** For tests: as root, go without user namespaces. */
  force_mode?: 'setuid'
  /** Called with the end of the log when the server ends unasked. Not called when attached. */
  on_exit?: (log: string) => void
}

const ROLE = 'kopilka'
const ATTACH_POLL_MS = 50
/** How long an owner may take to make the cluster or to replay its log before it announces a server. */
const OWNER_TIMEOUT_MS = 180_000
/** How long an owner may have announced a server that does not answer before we give up on it. */
const ATTACH_TIMEOUT_MS = 3_000

/**
 * Starts the embedded PostgreSQL of this directory, or attaches when another live process has started it.
 * The server ends with the process that owns it, even when that is killed; those attached then lose it too.
 * Safe when several processes start at once. What is committed survives every kind of end.
 * To be called in the main thread: the kernel ends the server together with the thread that started it.
 * Throws {@link EmbeddedPostgresError}; every code of it is about this start.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  checkOptions(options)
  const layout = layOut(options.data_directory)
  const deadline = performance.now() + OWNER_TIMEOUT_MS
  let announced_since: number | undefined
  while (performance.now() < deadline) {
    const lock = lockFile(layout.owner_lock)
    if (lock) return own(layout, lock, options)
    const attached = await attach(layout, options)
    if (attached === 'starting') {
      announced_since = undefined
    } else if (attached === 'silent') {
      announced_since ??= performance.now()
      if (performance.now() - announced_since > ATTACH_TIMEOUT_MS) break
    } else {
      return attached
    }
    await sleep(ATTACH_POLL_MS)
  }
  const owner = readOwner(layout.owner)
  throw new EmbeddedPostgresError(
    'owner_unreachable',
    `process ${owner?.pid ?? '(still starting)'} uses ${layout.directory}, and its server does not answer`,
    `Stop that process; for several machines or containers ${EXTERNAL_INSTEAD.slice('or '.length)}.`,
  )
}

function checkOptions(options: EmbeddedPostgresOptions): void {
  const { database = ROLE, port = 1, flags = [] } = options
  const refuse = (what: string, hint: string): never => {
    throw new EmbeddedPostgresError('invalid_option', what, hint)
  }
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(database) || /^(postgres|template[01])$/.test(database)) {
    refuse(`"${database}" cannot be the database`, 'Use up to 63 small letters, digits and underscores.')
  }
  if (!Number.isInteger(port) || port < 1 || port > 65_535) refuse(`${port} is not a port`, 'Use 1 to 65535.')
  const bad = flags.find((flag) => !/^[a-z_.]+=[^\0]*$/.test(flag))
  if (bad !== undefined) refuse(`"${bad}" is not a setting`, 'Write name=value, for example work_mem=8MB.')
}

interface Addresses {
  url: string
  superuser_url: string
}

function urls(port: number, database: string, passwords: Passwords): Addresses {
  const at = `127.0.0.1:${port}`
  return {
    url: `postgres://${ROLE}:${passwords.role_password}@${at}/${database}`,
    superuser_url: `postgres://${SUPERUSER}:${passwords.superuser_password}@${at}/${database}`,
  }
}

/** `starting`: the owner has not announced a server yet. `silent`: it has, and the server does not answer. */
async function attach(
  layout: Layout,
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres | 'starting' | 'silent'> {
  const owner = readOwner(layout.owner)
  if (!owner) return 'starting'
  const superuser_password = readPassword(layout.superuser_password)
  const role_password = readPassword(layout.role_password)
  if (!superuser_password || !role_password) return 'silent'
  const addresses = urls(owner.port, options.database ?? ROLE, { superuser_password, role_password })
  try {
    await ensureApplication(addresses, { ...options, password: role_password })
  } catch (error) {
    if (isDatabaseUnavailable(error)) return 'silent'
    throw setUpFailed(layout, error)
  }
  return { ...addresses, mode: 'attached', pid: owner.postgres_pid, stop: () => Promise.resolve() }
}

/** One login when all is well, which is every start but the first. */
async function ensureApplication(
  addresses: Addresses,
  options: {
    password: string
    database?: string | undefined
    may_create_databases?: boolean
    is_new?: boolean
  },
): Promise<void> {
  const { password, database = ROLE, may_create_databases, is_new = false } = options
  const wanted = { role: ROLE, password, database, may_create_databases, is_new }
  // Loaded while the server starts, not before: a first start begins with work for another program.
  const { ensureRole, isRoleReady } = await import('./embedded-postgres-queries.ts')
  if (!is_new && (await isRoleReady(addresses.url, wanted))) return
  const maintenance = new URL(addresses.superuser_url)
  maintenance.pathname = '/template1'
  await ensureRole(maintenance.href, wanted)
}

function setUpFailed(layout: Layout, error: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'start_failed',
    `the database could not be set up: ${String(error)}`,
    `If a password was changed by hand, remove ${layout.superuser_password}: a start sets a new one.`,
    { cause: error },
  )
}

async function own(
  layout: Layout,
  lock: FileLock,
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  let server_lock: FileLock | undefined
  const release = (): void => {
    server_lock?.release()
    lock.release()
  }
  try {
    removeOwner(layout.owner)
    const binaries = findBinaries()
    const launcher = chooseLauncher(binaries, layout.directory, options.force_mode)
    server_lock = await lockServer(layout, launcher)
    for (const file of [layout.owner_lock, layout.server_lock]) give(launcher, file)
    const may_skip_sync = options.flags?.includes('fsync=off') ?? false
    const passwords = await ensureCluster(launcher, layout, server_lock, { may_skip_sync })
    const server = await startServer(launcher, layout, server_lock, options)
    return await serve(launcher, layout, server, passwords, release, options)
  } catch (error) {
    release()
    throw error
  }
}

async function serve(
  launcher: Launcher,
  layout: Layout,
  server: Server,
  passwords: Passwords & { is_new: boolean },
  release: () => void,
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { child, port } = server
  const pid = child.pid ?? 0
  const callOff = launcher.is_tied_to_us ? () => undefined : stopWithUs(pid)
  let stopping: Promise<void> | undefined
  const clear = (): void => {
    removeOwner(layout.owner)
    callOff()
    server.closeLog()
    release()
  }
  const stop = async (): Promise<void> => {
    removeOwner(layout.owner)
    await endServer(launcher, child)
    clear()
  }
  const stopOnce = (): Promise<void> => (stopping ??= stop())
  const addresses = urls(port, options.database ?? ROLE, passwords)
  try {
    const { database, may_create_databases = false } = options
    const password = passwords.role_password
    await ensureApplication(addresses, { database, may_create_databases, password, is_new: passwords.is_new })
    writeOwner(layout.owner, { pid: process.pid, port, postgres_pid: pid })
    give(launcher, layout.owner)
  } catch (error) {
    await stopOnce()
    throw setUpFailed(layout, error)
  }
  const reportEnd = (): void => {
    if (stopping) return
    stopping = Promise.resolve()
    const log = server.readNewLog()
    clear()
    options.on_exit?.(log)
  }
  if (hasEnded(child)) reportEnd()
  else child.once('exit', reportEnd)
  // The server alone keeps nobody alive: a script that forgets to stop it ends, and the server with it.
  child.unref()
  return { ...addresses, mode: launcher.mode, pid, stop: stopOnce }
}
