import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** What is about to be written; paths are relative to the repository's root. */
export interface Draft {
  /** Files that must not be there yet. */
  files: Readonly<Record<string, string>>
  /** New texts of files that are there. */
  edits: Readonly<Record<string, string>>
  /** What a person does next. */
  next: readonly string[]
}

/** Nothing was written; the message says what to change. */
export class DraftRefused extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'DraftRefused'
  }
}

/** Writes all of a draft, or nothing: {@link DraftRefused} when a file is there. Answers a line per file. */
export function writeDraft(root: string, draft: Draft): string[] {
  const taken = Object.keys(draft.files).filter((name) => existsSync(path.join(root, name)))
  if (taken.length > 0) throw new DraftRefused(`${taken.join(', ')} is there already`)
  for (const [name, text] of [...Object.entries(draft.files), ...Object.entries(draft.edits)]) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
    writeFileSync(path.join(root, name), text)
  }
  return [
    ...Object.keys(draft.files).map((name) => `written: ${name}`),
    ...Object.keys(draft.edits).map((name) => `changed: ${name}`),
  ]
}

/** Reads a file of the repository. */
export function readText(root: string, name: string): string {
  return readFileSync(path.join(root, name), 'utf8')
}

/** Holds a name against a form. Throws {@link DraftRefused} with what the form is, in words. */
export function checkName(name: string, form: RegExp, says: string): void {
  if (!form.test(name))
    throw new DraftRefused(`${name === '' ? 'a name is missing' : `"${name}" is no name for it`}: ${says}`)
}
