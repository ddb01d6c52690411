import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Emulator } from '../emulator.ts'
import { startCoinVendor } from './test-vendor.ts'

let emulator: Emulator

beforeEach(async () => {
  emulator = await startCoinVendor({ seed: 1, hold_ms: 150 })
})
afterEach(() => emulator.close())

const mint = (signal?: AbortSignal) =>
  fetch(`${emulator.base_url}/coins`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"value":1}',
    ...(signal ? { signal } : {}),
  })
const coins = () => emulator.control.status().counts.objects['coins']

describe('Faults of requests', () => {
  test('timeout_after_charge performs and never answers; the socket is cut in the end', async () => {
    emulator.control.faults({ timeout_after_charge: 1 })
    const started_at = performance.now()
    await expect(mint()).rejects.toThrow('fetch failed')
    expect(performance.now() - started_at).toBeGreaterThanOrEqual(140)
    expect(coins()).toBe(1)
    expect((await mint()).status).toBe(200)
    expect(emulator.control.log().items[0]).toMatchObject({ fault: 'timeout_after_charge', method: 'POST' })
  })

  test('timeout_before_charge performs nothing and never answers', async () => {
    emulator.control.faults({ timeout_before_charge: 1 })
    await expect(mint()).rejects.toThrow('fetch failed')
    expect(coins()).toBe(0)
  })

  test('timeout_before_charge performs nothing either when the client gives up first', async () => {
    const patient = await startCoinVendor({ hold_ms: 600_000 })
    patient.control.faults({ timeout_before_charge: 1 })
    const post = (signal?: AbortSignal) =>
      fetch(`${patient.base_url}/coins`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"value":1}',
        ...(signal ? { signal } : {}),
      })
    const client = new AbortController()
    const held = post(client.signal)
    await expect.poll(() => patient.control.log().items.length).toBe(1)
    client.abort()
    await expect(held).rejects.toThrow('aborted')
    // The next one is answered after the emulator has heard that the first is gone.
    expect((await post()).status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(patient.control.status().counts.objects['coins']).toBe(1)
    await patient.close()
  })

  test('a client that gives up first is let go, and closing does not wait for a held request', async () => {
    const patient = await startCoinVendor({ hold_ms: 600_000 })
    patient.control.faults({ timeout_after_charge: 2 })
    const post = (signal: AbortSignal) =>
      fetch(`${patient.base_url}/coins`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"value":1}',
        signal,
      })
    await expect(post(AbortSignal.timeout(50))).rejects.toThrow('timeout')
    const held = post(AbortSignal.timeout(20_000)).then(
      () => 'answered',
      () => 'cut',
    )
    while (patient.control.status().counts.objects['coins'] !== 2) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    const started_at = performance.now()
    await patient.close()
    expect(await held).toBe('cut')
    expect(performance.now() - started_at).toBeLessThan(2000)
  })

  test('error_500 comes after performing, then without performing, by turns', async () => {
    emulator.control.faults({ error_500: 2 })
    expect((await mint()).status).toBe(500)
    expect(coins()).toBe(1)
    expect((await mint()).status).toBe(500)
    expect(coins()).toBe(1)
    expect((await mint()).status).toBe(200)
    expect(coins()).toBe(2)
  })

  test('html_body is a 502 page after performing, then a 200 page without performing', async () => {
    emulator.control.faults({ html_body: 2 })
    const first = await mint()
    expect([first.status, first.headers.get('content-type')]).toEqual([502, 'text/html; charset=utf-8'])
    expect(await first.text()).toMatch(/^<!doctype html>/)
    expect(coins()).toBe(1)
    const second = await mint()
    expect([second.status, second.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    expect(await second.text()).toMatch(/^<!doctype html>/)
    expect(coins()).toBe(1)
  })

  test('error_429 performs nothing', async () => {
    emulator.control.faults({ error_429: 1 })
    expect((await mint()).status).toBe(429)
    expect(coins()).toBe(0)
  })

  test('reading is spared unless the scope says otherwise', async () => {
    const { id } = (await (await mint()).json()) as { id: string }
    const read = () => fetch(`${emulator.base_url}/coins/${id}`)
    emulator.control.faults({ error_500: 1 })
    expect((await read()).status).toBe(200)
    emulator.control.faults({ scope: 'reads' })
    expect((await read()).status).toBe(500)
    expect((await read()).status).toBe(200)
  })

  test('the control API is never touched', async () => {
    emulator.control.faults({ error_500: 5, scope: 'all' })
    const response = await fetch(`${emulator.base_url}/_emulator/faults`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    expect(response.status).toBe(200)
    expect(emulator.control.status().faults.error_500).toBe(5)
  })
})
