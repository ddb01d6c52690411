import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { z } from 'zod'
import type { GatewayFixture, Lab } from './fixture.ts'
import { secretFields } from './lab.ts'

/** What a gateway is, before it is asked anything. */
export function checkSettings<Config>(fixture: GatewayFixture<Config>, lab: () => Lab<Config>): void {
  const { gateway } = fixture
  const refuses = (settings: unknown) => !gateway.configSchema.safeParse(settings).success

  it('has the name of its file for an id, and a title', () => {
    expect(gateway.id).toBe(path.basename(fileURLToPath(fixture.file_url), '.ts'))
    expect(gateway.id).toMatch(/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/)
    expect(gateway.title).not.toBe('')
  })

  it('takes currencies by their codes, the tested one among them', () => {
    expect(gateway.currencies).toContain(fixture.currency)
    expect(gateway.currencies.filter((code) => !/^[A-Z]{3,5}$/.test(code))).toEqual([])
    expect(new Set(gateway.currencies).size).toBe(gateway.currencies.length)
  })

  it('draws the owner a form in which every field has a title and the secrets are marked', () => {
    const form = z.toJSONSchema(gateway.configSchema, { io: 'input' })
    const untitled = Object.entries(form.properties ?? {}).filter(
      ([, field]) => typeof field !== 'object' || !field.title,
    )
    expect(form.type).toBe('object')
    expect(untitled.map(([name]) => name)).toEqual([])
    expect(secretFields(gateway.configSchema)).not.toEqual([])
  })

  it('refuses settings with a secret that is missing, empty or under 16 bytes', () => {
    const { settings } = lab().stand
    expect(refuses(settings)).toBe(false)
    for (const name of secretFields(gateway.configSchema).filter((field) => field in settings)) {
      const wrong = [undefined, null, '', ' '.repeat(32), 'x'.repeat(15), 1234567890123456, ['x'.repeat(32)]]
      expect(wrong.filter((value) => !refuses({ ...settings, [name]: value }))).toEqual([])
    }
    expect([undefined, null, '', 5, [], {}].filter((value) => !refuses(value))).toEqual([])
  })

  it("calls the emulator's credentials test credentials", () => {
    expect(gateway.isTest(lab().config)).toBe(true)
  })
}
