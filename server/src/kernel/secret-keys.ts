import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'

/** A key that seals other keys; kept outside the database. */
export interface SecretKey {
  /** Written into everything this key seals. Letters and digits. */
  id: string
  /** 32 bytes. */
  key: Buffer
}

/** The keys cannot be used. `hint` says what to do. */
export class SecretKeysRefused extends Error {
  readonly hint: string
  constructor(message: string, hint: string) {
    super(message)
    this.name = 'SecretKeysRefused'
    this.hint = hint
  }
}

const LINE = /^([A-Za-z0-9]{1,32}):([A-Za-z0-9+/_-]{43}=?)$/

const HEADER = `# The keys that seal the secrets in the database, newest first. Nobody else may read this.
# Back it up, apart from the database: without it the settings of gateways cannot be read again.
`

/** Where the keys lie in the data directory. */
export function secretKeysFile(data_directory: string): string {
  return path.join(data_directory, 'secrets.key')
}

/**
 * The keys from the setting (`id:base64,id:base64`, newest first), or from the file in the data directory,
 * which is made with one new key at the first start. Throws {@link SecretKeysRefused} when they are
 * malformed, or when others may read the file.
 */
export function loadSecretKeys(options: {
  data_directory: string
  setting?: string | undefined
}): SecretKey[] {
  if (options.setting !== undefined) return parseSecretKeys(options.setting, 'KOPILKA_SECRET_KEYS')
  const file = secretKeysFile(options.data_directory)
  createOnce(file)
  if (process.platform !== 'win32' && (statSync(file).mode & 0o077) !== 0) {
    throw new SecretKeysRefused(`${file} may be read by others`, `Run: chmod 600 ${file}`)
  }
  return parseSecretKeys(readFileSync(file, 'utf8'), file)
}

/**
 * Puts a new key into the file and answers its id: in front, where processes seal with it from their next
 * start on, or `last`, where they only learn to open with it. The latter goes first where several processes
 * run: else one that was started already would seal what another one cannot open yet. What is sealed is moved
 * to the first key by `rewrap`.
 */
export function addSecretKey(data_directory: string, place: 'first' | 'last' = 'first'): string {
  const keys = loadSecretKeys({ data_directory })
  const added = newKey()
  replaceKeys(data_directory, place === 'first' ? [added, ...keys] : [...keys, added])
  return added.id
}

/** Moves a key of the file to the front. Throws {@link SecretKeysRefused} when it is not there. */
export function useSecretKey(data_directory: string, id: string): void {
  const { found, others } = splitKeys(data_directory, id)
  replaceKeys(data_directory, [found, ...others])
}

/**
 * Takes a key out of the file; whoever calls has made sure that nothing is sealed with it. Throws
 * {@link SecretKeysRefused} when it is not there or is the only one.
 */
export function removeSecretKey(data_directory: string, id: string): void {
  const { others } = splitKeys(data_directory, id)
  if (others.length === 0) throw new SecretKeysRefused(`${id} is the only key`, 'Add another one first.')
  replaceKeys(data_directory, others)
}

function splitKeys(data_directory: string, id: string): { found: SecretKey; others: SecretKey[] } {
  const keys = loadSecretKeys({ data_directory })
  const found = keys.find((key) => key.id === id)
  if (found === undefined) {
    throw new SecretKeysRefused(`there is no key ${id}`, `Keys: ${keys.map((key) => key.id).join(', ')}.`)
  }
  return { found, others: keys.filter((key) => key !== found) }
}

function replaceKeys(data_directory: string, keys: readonly SecretKey[]): void {
  const file = secretKeysFile(data_directory)
  const fresh = `${file}.${process.pid}.new`
  writeFileSync(fresh, render(keys), { mode: 0o600, flag: 'wx', flush: true })
  renameSync(fresh, file)
}

/** Reads `id:base64` entries, one per line or separated by commas; `#` begins a comment line. */
export function parseSecretKeys(text: string, source: string): SecretKey[] {
  const entries = text
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('#'))
    .flatMap((line) => line.split(','))
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
  const keys = entries.map((entry, index) => {
    const [, id, encoded] = LINE.exec(entry) ?? []
    const key = Buffer.from(encoded ?? '', 'base64')
    if (id === undefined || key.length !== 32) {
      throw new SecretKeysRefused(
        `entry ${index + 1} of ${source} is not a key`,
        'Write id:base64 with 32 bytes, made for example by: openssl rand -base64 32',
      )
    }
    return { id, key }
  })
  if (keys.length === 0) throw new SecretKeysRefused(`${source} holds no key`, 'Restore it from the backup.')
  if (new Set(keys.map((key) => key.id)).size !== keys.length) {
    throw new SecretKeysRefused(`two keys of ${source} have the same id`, 'Give every key an id of its own.')
  }
  return keys
}

/** Several processes may start at once: the link is made by exactly one of them, with the whole content. */
function createOnce(file: string): void {
  if (statSync(file, { throwIfNoEntry: false })) return
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  const fresh = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  writeFileSync(fresh, render([newKey()]), { mode: 0o600, flag: 'wx', flush: true })
  chmodSync(fresh, 0o600)
  try {
    linkSync(fresh, file)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    // Some mounted folders know no links; there a second process starting in the same instant may be refused
    // once.
    if (code === 'EPERM' || code === 'ENOTSUP' || code === 'ENOSYS')
      writeFileSync(file, readFileSync(fresh), { mode: 0o600, flag: 'wx' })
    else if (code !== 'EEXIST') throw error
  } finally {
    rmSync(fresh)
  }
}

function newKey(): SecretKey {
  return { id: `k${randomBytes(4).toString('hex')}`, key: randomBytes(32) }
}

function render(keys: readonly SecretKey[]): string {
  return `${HEADER}${keys.map(({ id, key }) => `${id}:${key.toString('base64')}\n`).join('')}`
}
