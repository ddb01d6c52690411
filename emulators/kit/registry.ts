import { readdir } from 'node:fs/promises'
import type { BaseSettings, EmulatorDefinition } from '../emulator.ts'

const FOLDER = new URL('../', import.meta.url)
const NOT_VENDORS = new Set(['main.ts', 'emulator.ts'])

/** Every file of the emulators' folder that exports `emulator`, by id. */
export async function listEmulators(): Promise<Map<string, EmulatorDefinition<BaseSettings>>> {
  const found = new Map<string, EmulatorDefinition<BaseSettings>>()
  for (const name of (await readdir(FOLDER)).sort()) {
    if (!name.endsWith('.ts') || name.endsWith('.test.ts') || NOT_VENDORS.has(name)) continue
    const loaded: unknown = await import(new URL(name, FOLDER).href)
    if (typeof loaded !== 'object' || loaded === null || !('emulator' in loaded)) continue
    const definition = loaded.emulator as EmulatorDefinition<BaseSettings>
    if (`${definition.id}.ts` !== name) {
      throw new Error(`${name} exports an emulator with the id ${definition.id}; they must be equal.`)
    }
    found.set(definition.id, definition)
  }
  return found
}
