import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { GatewayUnavailable } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { frozenClock } from '#kernel/clock'
import { callGateway, createGateways, loadGatewayFiles } from './gateways.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kopilka-gateways-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A folder of its own with these files. */
function folderOf(files: Readonly<Record<string, string>>): string {
  const own = mkdtempSync(path.join(folder, 'one-'))
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(own, name), text)
  return own
}
const file = (id: string): string => `export default { id: '${id}' }\n`

describe('gateway files', () => {
  it('of ours are found by their names, and those of the owner beside them', async () => {
    const own = folderOf({ 'acme.ts': file('acme'), 'acme.test.ts': 'throw 1', 'notes.md': '' })
    const ids = (await loadGatewayFiles([own, path.join(folder, 'absent')])).map(({ id }) => id)
    expect(ids).toEqual(expect.arrayContaining(['acme', 'sandbox', 'yookassa', 'stripe']))
    expect(ids.at(-1)).toBe('acme')
  })

  test.each([
    ['exports none', { 'acme.ts': 'export const nothing = 1\n' }, 'does not export a gateway'],
    ['has another name', { 'acme.ts': file('other') }, 'names must agree'],
    ['takes a name that is taken', { 'yookassa.ts': file('yookassa') }, 'two gateways are called yookassa'],
  ])('are refused when one %s', async (_title, files, message) => {
    await expect(loadGatewayFiles([folderOf(files)])).rejects.toThrow(message)
  })

  it('in what is no folder are an error', async () => {
    const own = folderOf({ 'a.txt': '' })
    await expect(loadGatewayFiles([path.join(own, 'a.txt')])).rejects.toThrow('ENOTDIR')
  })
})

describe('the gateways of a process', () => {
  const secret = { secret: 'secret-of-the-sandbox' }
  const open = async (mode: 'sandbox' | 'live') => {
    const refused: string[] = []
    const gateways = createGateways(await loadGatewayFiles(), {
      clock: frozenClock(),
      mode,
      base_url: () => 'https://pay.example',
      log_refused: (gateway, reason) => refused.push(`${gateway} ${reason}`),
    })
    return { gateways, refused }
  }

  it('take only credentials of their mode', async () => {
    const live = await open('live')
    expect(() => live.gateways.configure('sandbox', secret)).toThrow(
      'test credentials in a live installation',
    )
    expect(live.refused).toEqual(['sandbox has test credentials in a live installation'])
    expect(live.gateways.list()).toEqual([])
    const sandbox = await open('sandbox')
    const key = { shop_id: '100500', secret_key: 'live_0123456789abcdef0123' }
    expect(() => sandbox.gateways.configure('yookassa', key)).toThrow(
      'live credentials in a sandbox installation',
    )
  })

  it('are had by name, in their order, with what they remember between calls', async () => {
    const { gateways } = await open('sandbox')
    expect(() => gateways.get('sandbox')).toThrow('is installed and not set up for this sandbox installation')
    expect(() => gateways.get('nobody')).toThrow('There is no gateway nobody. Set up: none.')
    expect(() => gateways.configure('nobody', {})).toThrow('There is no gateway nobody.')
    expect(() => gateways.configure('sandbox', {})).toThrow(/KOPILKA_GATEWAY_SANDBOX_SECRET: /)
    expect(() => gateways.configure('sandbox', { ...secret, later_second: 1 })).toThrow(
      /KOPILKA_GATEWAY_SANDBOX_LATER_SECOND is none of its settings \(secret, /,
    )
    gateways.configure('yookassa', { shop_id: '100500', secret_key: 'test_0123456789abcdef0123' }, 2)
    gateways.configure('sandbox', secret, 1)
    expect(gateways.list().map(({ gateway }) => gateway.id)).toEqual(['sandbox', 'yookassa'])
    expect(gateways.get('sandbox')).toMatchObject({ is_test: true, position: 1 })
    gateways.context('sandbox').cache.set('token', { value: 1, expires_at: 0 })
    expect(gateways.context('sandbox').cache.get('token')?.value).toBe(1)
    expect(gateways.context('yookassa').cache.size).toBe(0)
    gateways.disable('sandbox')
    expect(gateways.find('sandbox')).toBeUndefined()
    expect(gateways.installed().length).toBeGreaterThan(5)
  })
})

describe('a call of a gateway', () => {
  it('that cannot be made now is an operational error with the vendor’s pause', async () => {
    const failing = (error: Error) =>
      callGateway(async () => {
        throw error
      })
    await expect(failing(new GatewayUnavailable('timeout'))).rejects.toMatchObject({
      code: 'gateway_unavailable',
      retry_after_seconds: 2,
    })
    const patient = new GatewayUnavailable('too many requests', { retry_after_ms: 6500 })
    await expect(failing(patient)).rejects.toMatchObject({ retry_after_seconds: 7 })
    await expect(failing(new TypeError('ours'))).rejects.toThrow('ours')
    await expect(callGateway(() => Promise.resolve(1))).resolves.toBe(1)
  })
})
