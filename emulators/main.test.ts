import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { startListener } from './kit/test-listener.ts'

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))
const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** Runs main.ts as its own process; the output so far is in the returned object. */
function run(...argv: string[]): {
  child: ChildProcess
  output: { text: string }
  exit: Promise<number | null>
} {
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  const output = { text: '' }
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output.text += chunk.toString('utf8')
    })
  }
  return { child, output, exit: once(child, 'close').then(([code]) => code as number | null) }
}

async function address(output: { text: string }): Promise<string> {
  for (;;) {
    const found = /emulator: (http:\/\/\S+)\n[^]*fee_permille/.exec(output.text)
    if (found?.[1] !== undefined) return found[1]
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('npm run emulator', () => {
  test('alone lists every emulator of the folder', async () => {
    const { output, exit } = run()
    expect(await exit).toBe(0)
    expect(output.text).toMatch(/^Emulators:\n/)
    expect(output.text).toMatch(/\n {2}yookassa +API v3/)
  })

  test('runs one alone: tells how to reach it, takes settings, notifies, stops on SIGTERM', async () => {
    const merchant = await startListener()
    const { child, output, exit } = run(
      ...'yookassa -- --shop-id 777 --fee-permille 10 --seed 5 --payment-methods ["bank_card"]'.split(' '),
      '--faults',
      '{"duplicate":1}',
      `--webhook-url=${merchant.url}`,
    )
    const base_url = await address(output)
    expect(output.text).toContain('"test_kopilka_yookassa_secret"')
    expect(output.text).toContain(`${base_url}/_emulator`)
    const authorization = `Basic ${Buffer.from('777:test_kopilka_yookassa_secret').toString('base64')}`
    const me = await fetch(`${base_url}/v3/me`, { headers: { authorization } })
    expect(await me.json()).toMatchObject({ account_id: '777', payment_methods: ['bank_card'] })
    const created = await fetch(`${base_url}/v3/payments`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json', 'idempotence-key': 'k' },
      body: JSON.stringify({
        amount: { value: '100.00', currency: 'RUB' },
        capture: true,
        confirmation: { type: 'redirect', return_url: 'https://shop.example' },
      }),
    })
    const { id } = (await created.json()) as { id: string }
    const completed = await fetch(`${base_url}/_emulator/payments/${id}/complete`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"outcome":"succeeded"}',
    })
    // 100.00 − 1 % − 22 % of that.
    expect(await completed.json()).toMatchObject({ status: 'succeeded', income_amount: { value: '98.78' } })
    while (merchant.received.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    child.kill('SIGTERM')
    expect(await exit).toBe(0)
    await merchant.close()
  })

  test('help names every setting', async () => {
    const { output, exit } = run('yookassa', '--help')
    expect(await exit).toBe(0)
    for (const name of [
      '--webhook-url',
      '--shop-id',
      '--secret-key',
      '--fiscalization',
      '--port',
      '--seed',
    ]) {
      expect(output.text).toContain(name)
    }
  })

  test.each([
    [['nobody'], 'There is no emulator "nobody"'],
    [['yookassa', '--colour', 'red'], '--colour'],
    [['yookassa', '--port', 'many'], '--port takes a number'],
    [['yookassa', '--port', '99999999'], '65536'],
    [['yookassa', '--faults', '{'], '--faults takes JSON'],
    [['yookassa', '--faults', '{"explode":1}'], 'explode'],
    [['yookassa', '--secret-key', 'short'], 'secret_key'],
    [['yookassa', '--fiscalization', 'maybe'], 'fiscalization'],
  ])('%j ends with an error that says what is wrong', async (argv, text) => {
    const { output, exit } = run(...argv)
    expect(await exit).toBe(1)
    expect(output.text).toContain(text)
  })
})
