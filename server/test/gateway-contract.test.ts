import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Gateway } from '@kopilka/extension'
import { describe, expect, it } from 'vitest'

const ROOT = path.join(import.meta.dirname, '../..')
const FOLDERS = ['server/src/modules/payments/gateways', 'extensions/gateways']

interface GatewayFile {
  id: string
  folder: string
}

/** The calls without which the core cannot sell through a gateway. */
const REQUIRED = ['isTest', 'createPayment', 'getPayment', 'parseWebhook'] as const

function namesIn(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder)).filter((name) => name.endsWith('.ts'))
}

function gatewayFiles(): GatewayFile[] {
  return FOLDERS.flatMap((folder) =>
    namesIn(folder)
      .filter((name) => !/\.(?:test|d)\.ts$/.test(name))
      .map((name) => ({ id: path.basename(name, '.ts'), folder })),
  )
}

describe('every gateway file', () => {
  it('is found: at least the built-in ones', () => {
    expect(gatewayFiles().map(({ id }) => id)).toEqual(expect.arrayContaining(['sandbox', 'yookassa']))
  })

  it.each(gatewayFiles())('$folder/$id.ts exports a gateway of its own name', async ({ id, folder }) => {
    const file = pathToFileURL(path.join(ROOT, folder, `${id}.ts`)).href
    const { default: gateway } = (await import(file)) as { default?: Gateway }
    expect(gateway?.id).toBe(id)
    expect(REQUIRED.filter((call) => typeof gateway?.[call] !== 'function')).toEqual([])
  })

  it.each(gatewayFiles())('$folder/$id.ts has a test beside it that runs the contract', ({ id, folder }) => {
    const tests = namesIn(folder).filter((name) => name.startsWith(id) && name.endsWith('.test.ts'))
    const texts = tests.map((name) => readFileSync(path.join(ROOT, folder, name), 'utf8'))
    expect(texts.some((text) => text.includes('describeGateway('))).toBe(true)
  })
})
