import { readdir } from 'node:fs/promises'
import type { BaseSettings, EmulatorDefinition } from '../emulator.ts'

const FOLDER = new URL('../', import.meta.url)
const NOT_VENDORS = new Set(['main.ts', 'emulator.ts'])

/** The ids of the files that may be emulators, sorted; nothing is loaded. */
export async function emulatorIds(): Promise<string[]> {
  const names = await readdir(FOLDER)
  return names
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && !NOT_VENDORS.has(name))
    .map((name) => name.slice(0, -3))
    .sort()
}

/**
 * Loads one emulator, and none of the others; undefined when the folder has none of this id. Throws when a
 * file's emulator has another id than its name.
 */
export async function loadEmulator(id: string): Promise<EmulatorDefinition<BaseSettings> | undefined> {
  if (!(await emulatorIds()).includes(id)) return undefined
  const loaded: unknown = await import(new URL(`${id}.ts`, FOLDER).href)
  if (typeof loaded !== 'object' || loaded === null || !('emulator' in loaded)) return undefined
  const definition = loaded.emulator as EmulatorDefinition<BaseSettings>
  if (definition.id !== id) throw new Error(`${id}.ts exports an emulator with the id ${definition.id}.`)
  return definition
}

/** Every file of the emulators' folder that exports `emulator`, by id. */
export async function listEmulators(): Promise<Map<string, EmulatorDefinition<BaseSettings>>> {
  const found = new Map<string, EmulatorDefinition<BaseSettings>>()
  for (const id of await emulatorIds()) {
    const definition = await loadEmulator(id)
    if (definition) found.set(id, definition)
  }
  return found
}
