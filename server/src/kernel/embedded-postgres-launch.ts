import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { chownSync, lchownSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { copyBinaries, type Binaries } from './embedded-postgres-binaries.ts'
import { EmbeddedPostgresError, EXTERNAL_INSTEAD, systemCode } from './embedded-postgres-error.ts'
import { BARE_ENVIRONMENT } from './embedded-postgres-lock.ts'

/** The user `nobody` of every Linux: who root becomes when it has to become somebody. */
const NOBODY = 65_534
/** Programs that start at all start within this; it is 20 ms on an idle machine. */
const PROBE_TIMEOUT_MS = 30_000

/**
 * How PostgreSQL's programs are run. PostgreSQL refuses to run as root, so for root they run as somebody
 * else: `userns`, in a user namespace where root is called `nobody` (files stay root's), or `setuid`, as
 * another user.
 */
export interface Launcher {
  mode: 'direct' | 'userns' | 'setuid'
  binaries: Binaries
  /** A command and its arguments that end by running what follows them, in the same process. */
  prefix: readonly string[]
  /** Set when the programs run as another user. */
  ids: { uid?: number; gid?: number }
  /** The kernel ends the programs together with this process. Without it, see {@link stopWithUs}. */
  is_tied_to_us: boolean
}

type Fitness = 'fit' | 'program_out_of_reach' | 'directory_out_of_reach' | 'user_without_name' | 'unusable'

/**
 * Chooses the way that works here, by trying, and prepares for it: copies the programs when they cannot be
 * reached, hands a root-owned directory to `nobody` when there are no user namespaces.
 * Throws {@link EmbeddedPostgresError} `root_refused`, `user_without_name`, `binaries_unusable` or
 * `data_directory_unusable`.
 */
export function chooseLauncher(binaries: Binaries, directory: string, force_mode?: 'setuid'): Launcher {
  const usable = binaries.is_complete ? binaries : copyBinaries(binaries, directory)
  const simplest: Launcher = { mode: 'direct', binaries: usable, prefix: [], ids: {}, is_tied_to_us: false }
  if (process.platform === 'win32') return simplest
  let is_nameless = false
  for (const way of ways(simplest, directory, force_mode)) {
    const { launcher, fitness } = prepare(way, directory)
    if (launcher) return launcher
    is_nameless ||= fitness === 'user_without_name'
  }
  if (is_nameless) {
    throw new EmbeddedPostgresError(
      'user_without_name',
      'initdb does not run as a user whose number has no name on this system',
      `Give the user a line in /etc/passwd, run Kopilka as one who has it, ${EXTERNAL_INSTEAD}.`,
    )
  }
  throw new EmbeddedPostgresError(
    'root_refused',
    'PostgreSQL may not run as root, and root may become nobody else here',
    `Run Kopilka as an ordinary user, allow the capabilities SETUID, SETGID and CHOWN, ${EXTERNAL_INSTEAD}.`,
  )
}

/** What may work here, best first. What setpriv gives costs one exec; each way is tried without it too. */
function ways(simplest: Launcher, directory: string, force_mode?: 'setuid'): Launcher[] {
  const is_root = process.getuid?.() === 0
  const owner = statSync(directory)
  // The directory of an ordinary user is used as that user, by root too.
  const ids = owner.uid === 0 ? { uid: NOBODY, gid: NOBODY } : { uid: owner.uid, gid: owner.gid }
  const plain: Launcher = is_root ? { ...simplest, mode: 'setuid', ids } : simplest
  if (process.platform !== 'linux') return [plain]
  const tie = (launcher: Launcher): Launcher => {
    return { ...launcher, prefix: [...launcher.prefix, 'setpriv', '--pdeathsig', 'INT'], is_tied_to_us: true }
  }
  const prefix = ['unshare', '--user', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`]
  if (is_root && owner.uid === 0) {
    const userns: Launcher = { ...simplest, mode: 'userns', prefix }
    const all = force_mode === 'setuid' ? [plain] : [userns, plain]
    return all.flatMap((launcher) => [tie(launcher), launcher])
  }
  // A container is often given a user by number alone; in a namespace it is called nobody, which is a name.
  const named: Launcher = { ...plain, mode: is_root ? 'setuid' : 'userns', prefix }
  return [plain, named].flatMap((launcher) => [tie(launcher), launcher])
}

/** The launcher, ready to be used, or why this way does not exist here. */
function prepare(launcher: Launcher, directory: string): { launcher?: Launcher; fitness: Fitness } {
  const owner = statSync(directory)
  const must_hand_over = launcher.ids.uid !== undefined && launcher.ids.uid !== owner.uid
  if (must_hand_over && !mayChown(directory, launcher.ids)) return { fitness: 'unusable' }
  let chosen = launcher
  let trial = tryLauncher(chosen, directory)
  if (trial.fitness === 'program_out_of_reach') {
    chosen = { ...launcher, binaries: copyBinaries(launcher.binaries, directory) }
    giveTree(chosen, path.dirname(chosen.binaries.folder))
    trial = tryLauncher(chosen, directory)
  }
  if (trial.fitness === 'fit') return { launcher: chosen, fitness: 'fit' }
  if (must_hand_over) chownSync(directory, owner.uid, owner.gid)
  if (trial.fitness === 'program_out_of_reach') {
    throw new EmbeddedPostgresError(
      'binaries_unusable',
      `the embedded PostgreSQL does not run here: ${trial.output}`,
      `Use a Linux with glibc 2.27 or newer and a data directory that allows programs, ${EXTERNAL_INSTEAD}.`,
    )
  }
  if (trial.fitness === 'directory_out_of_reach') {
    const who = launcher.ids.uid === undefined ? 'this user' : `user ${launcher.ids.uid}`
    throw new EmbeddedPostgresError(
      'data_directory_unusable',
      `${who} cannot reach or write ${directory}`,
      `Choose a data directory whose parents ${who} may enter, as in /var/lib, ${EXTERNAL_INSTEAD}.`,
    )
  }
  return { fitness: trial.fitness }
}

/** The answers of the script below; unusual numbers, so that no failure of what stands before it is one. */
const ANSWERS: Readonly<Record<number, Fitness>> = {
  0: 'fit',
  111: 'program_out_of_reach',
  112: 'directory_out_of_reach',
  113: 'user_without_name',
}

function tryLauncher(launcher: Launcher, directory: string): { fitness: Fitness; output: string } {
  const script = `id -un >/dev/null 2>&1 || exit 113
    "$1" --version >/dev/null || exit 111
    test -w "$0" && test -x "$0" || exit 112`
  const program = programPath(launcher, 'postgres')
  const done = spawnSync(...commandLine(launcher, 'sh', ['-c', script, directory, program]), {
    ...launcher.ids,
    env: BARE_ENVIRONMENT,
    encoding: 'utf8',
    timeout: PROBE_TIMEOUT_MS,
  })
  return { fitness: ANSWERS[done.status ?? -1] ?? 'unusable', output: (done.stderr ?? '').trim().slice(-500) }
}

function mayChown(directory: string, ids: Launcher['ids']): boolean {
  try {
    giveTo(ids, directory)
    return true
  } catch {
    return false // a container without CAP_CHOWN: the caller tries the next way
  }
}

/** Hands a file or folder to the user the programs run as; nothing to do when that is us. */
export function give(launcher: Launcher, file: string): void {
  giveTo(launcher.ids, file)
}

function giveTo(ids: Launcher['ids'], file: string): void {
  if (ids.uid !== undefined && ids.gid !== undefined) lchownSync(file, ids.uid, ids.gid)
}

/** As {@link give}, with all that is in it. */
export function giveTree(launcher: Launcher, folder: string): void {
  if (launcher.ids.uid === undefined) return
  give(launcher, folder)
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    give(launcher, path.join(folder, name))
}

function programPath(launcher: Launcher, name: 'postgres' | 'initdb' | 'pg_ctl'): string {
  return path.join(launcher.binaries.folder, 'bin', process.platform === 'win32' ? `${name}.exe` : name)
}

function commandLine(launcher: Launcher, program: string, args: readonly string[]): [string, string[]] {
  const [first, ...more] = launcher.prefix
  return first === undefined ? [program, [...args]] : [first, [...more, program, ...args]]
}

/** What a program reads (a pipe or nothing), writes (to the log) and holds (a lock) while it lives. */
export interface LaunchOptions {
  directory: string
  stdin?: 'pipe'
  log_fd: number
  lock_fd: number
}

/**
 * Starts one of PostgreSQL's programs. It gets a session of its own: Ctrl-C in a terminal would otherwise
 * stop the database under a Kopilka that is still finishing its requests.
 * It inherits none of our environment.
 */
export function launch(
  launcher: Launcher,
  name: 'postgres' | 'initdb',
  args: readonly string[],
  options: LaunchOptions,
): ChildProcess {
  return spawn(...commandLine(launcher, programPath(launcher, name), args), {
    ...launcher.ids,
    stdio: [options.stdin ?? 'ignore', options.log_fd, options.log_fd, options.lock_fd],
    env: BARE_ENVIRONMENT,
    cwd: options.directory,
    detached: process.platform !== 'win32',
    windowsHide: true,
  })
}

/** Sends a signal to the server. Windows has none: there pg_ctl speaks to the server by its own pipe. */
export function signalServer(
  launcher: Launcher,
  pid: number,
  signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL',
): void {
  if (process.platform === 'win32') {
    const name = signal.slice('SIG'.length)
    spawnSync(programPath(launcher, 'pg_ctl'), ['kill', name, String(pid)], { timeout: PROBE_TIMEOUT_MS })
  } else {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if (systemCode(error) !== 'ESRCH') throw error // ESRCH: it ended a moment ago
    }
  }
}

/**
 * Where the kernel cannot tie a process to us: a shell that waits for our end of a pipe to close, which it
 * does however we end, and then interrupts the process. Returns what calls the shell off.
 */
export function stopWithUs(pid: number): () => void {
  if (process.platform === 'win32') return () => undefined
  // It ignores what a terminal sends to the group: it has to outlive us, by a moment.
  const script = 'trap "" INT TERM HUP; read -r line; kill -INT "$0"'
  const shell = spawn('sh', ['-c', script, String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: BARE_ENVIRONMENT,
    detached: true,
  })
  shell.unref()
  return () => shell.kill('SIGKILL')
}
