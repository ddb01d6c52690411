import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import type { BaseSettings, EmulatorDefinition } from '../emulator.ts'

const FOLDER = new URL('../', import.meta.url)
/** Vendors of the owner's own gateways: `acme/emulator.ts` beside `acme.ts`. */
const OWN_FOLDER = new URL('../../extensions/gateways/', import.meta.url)
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
 * Loads one emulator, and none of the others, also one of an own gateway; undefined when there is none.
 * Throws when a file's emulator has another id than its name.
 */
export async function loadEmulator(id: string): Promise<EmulatorDefinition<BaseSettings> | undefined> {
  const file = (await emulatorIds()).includes(id) ? new URL(`${id}.ts`, FOLDER) : ownVendor(id)
  if (file === undefined) return undefined
  const loaded: unknown = await import(file.href)
  if (typeof loaded !== 'object' || loaded === null || !('emulator' in loaded)) return undefined
  const definition = loaded.emulator as EmulatorDefinition<BaseSettings>
  if (definition.id !== id) throw new Error(`${id}.ts exports an emulator with the id ${definition.id}.`)
  return definition
}

function ownVendor(id: string): URL | undefined {
  if (!/^[a-z][a-z0-9-]*$/.test(id)) return undefined
  const file = new URL(`${id}/emulator.ts`, OWN_FOLDER)
  return existsSync(file) ? file : undefined
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
