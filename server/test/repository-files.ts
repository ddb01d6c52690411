import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { SourceFile } from './rules-source.ts'

export const ROOT = path.resolve(import.meta.dirname, '../..')

/** Texts above this are data (a lock file, a vendor's specification) and only read when they are JSON. */
const TEXT_MAX_BYTES = 2_000_000

/**
 * Every text of the repository, as git would see it: without what .gitignore names. Reads the folder and not
 * git, so that it works in an unpacked archive and in a clone that belongs to another user.
 */
export function repositoryFiles(root: string = ROOT): SourceFile[] {
  const is_ignored = ignoredBy(readFileSync(path.join(root, '.gitignore'), 'utf8'))
  const found: SourceFile[] = []
  const walk = (folder: string): void => {
    for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
      const name = path.posix.join(folder, entry.name)
      if (entry.name === '.git' || is_ignored(name, entry.isDirectory())) continue
      if (entry.isDirectory()) walk(name)
      else if (entry.isFile()) addText(name)
    }
  }
  const addText = (name: string): void => {
    const bytes = readFileSync(path.join(root, name))
    if (bytes.length <= TEXT_MAX_BYTES && !bytes.subarray(0, 8000).includes(0)) {
      found.push({ path: name, text: bytes.toString('utf8') })
    }
  }
  walk('')
  return found.toSorted((a, b) => (a.path < b.path ? -1 : 1))
}

/** Understands the forms our .gitignore has: `name`, `name/`, `*.ext`, `folder/file`. */
function ignoredBy(gitignore: string): (name: string, is_folder: boolean) => boolean {
  const patterns = gitignore
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
  return (name, is_folder) =>
    patterns.some((pattern) => {
      if (pattern.endsWith('/') && !is_folder) return false
      const bare = pattern.replace(/^\//, '').replace(/\/$/, '')
      const is_anchored = pattern.replace(/\/$/, '').includes('/')
      return path.matchesGlob(is_anchored ? name : path.posix.basename(name), bare)
    })
}
