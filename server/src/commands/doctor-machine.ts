import { existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { loadSecretKeys, secretKeysFile } from '#kernel/secret-keys'
import type { Config } from '../config.ts'
import type { Finding } from './doctor.ts'

const NODE_MIN = 24
const MEGABYTE = 1_048_576
const DISK_WARNING = 2_048 * MEGABYTE
const DISK_PROBLEM = 256 * MEGABYTE

/** Looks at Node.js, the data directory, the disk and the keys. */
export function examineMachine(config: Config): Finding[] {
  return [examineNode(process.versions.node), ...examineDirectory(config.data_directory), examineKeys(config)]
}

/** Below 24 Node.js cannot run TypeScript as it is here. */
export function examineNode(version: string): Finding {
  const major = Number(version.split('.', 1)[0])
  if (major >= NODE_MIN) return { level: 'ok', subject: 'Node.js', detail: version }
  return {
    level: 'problem',
    subject: 'Node.js',
    detail: `${version} is too old`,
    advice: 'Use 24 or newer; `npm install` brings one for Linux and Windows.',
  }
}

function examineDirectory(directory: string): Finding[] {
  const subject = 'data directory'
  try {
    mkdirSync(directory, { recursive: true })
    const probe = path.join(directory, `.doctor-${process.pid}`)
    writeFileSync(probe, 'x', { flush: true })
    rmSync(probe)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    return [
      {
        level: 'problem',
        subject,
        detail: `${directory} cannot be written (${code})`,
        advice: 'Give this user the right to, or name another one in KOPILKA_DATA_DIR.',
      },
    ]
  }
  const { bavail, bsize } = statfsSync(directory)
  const free = bavail * bsize
  const detail = `${directory}, ${Math.floor(free / MEGABYTE)} MB are free`
  if (free >= DISK_WARNING) return [{ level: 'ok', subject, detail }]
  const level = free < DISK_PROBLEM ? 'problem' : 'warning'
  return [{ level, subject, detail, advice: 'Make room: a full disk stops every payment.' }]
}

function examineKeys(config: Config): Finding {
  const subject = 'secret keys'
  const file = secretKeysFile(config.data_directory)
  if (config.secret_keys === undefined && !existsSync(file)) {
    return {
      level: 'note',
      subject,
      detail: 'not made yet',
      advice: `The first start makes ${file}; back it up.`,
    }
  }
  try {
    const keys = loadSecretKeys({ data_directory: config.data_directory, setting: config.secret_keys })
    return {
      level: 'ok',
      subject,
      detail: `${keys.length} readable; new secrets are sealed by ${keys[0]?.id ?? ''}`,
    }
  } catch (error) {
    const advice =
      error instanceof Error && 'hint' in error ? String(error.hint) : 'Restore the file from the backup.'
    return {
      level: 'problem',
      subject,
      detail: error instanceof Error ? error.message : String(error),
      advice,
    }
  }
}
