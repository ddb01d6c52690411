import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** `npm run demo` as a visitor meets it: a process of its own, and pages whose buttons are pressed. */
const MAIN = path.resolve(import.meta.dirname, '../../src/main.ts')
const SLOW_MS = 60_000
const VENDORS = [
  'yookassa',
  'robokassa',
  'rustore',
  'stripe',
  'paypal',
  'paddle',
  'crypto-pay',
  'telegram-stars',
]

interface Credentials {
  base_url: string
  secret_key: string
  shop_url: string
  emulators: Record<string, string>
}

interface Order {
  id: string
  status: string
  payment: { id: string; status: string; gateway: string }
}

let folder: string
let demo: ChildProcess
let credentials: Credentials

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kopilka demo '))
  const port = await freePort()
  demo = spawn(process.execPath, [MAIN, 'demo'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: process.env['PATH'], HOME: folder, PORT: String(port), KOPILKA_DATA_DIR: folder },
  })
  credentials = await until('the demo answers', async () => {
    const file = path.join(folder, 'credentials.json')
    const read = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Credentials) : undefined
    return read && read.shop_url !== '' ? read : undefined
  })
}, SLOW_MS)

afterAll(async () => {
  if (demo.exitCode === null) {
    demo.kill('SIGKILL')
    await new Promise((resolve) => demo.once('exit', resolve))
  }
  rmSync(folder, { recursive: true, force: true })
})

describe('the demo', () => {
  it.each(VENDORS)(
    'lets a visitor pay through %s and have the money back',
    async (gateway) => {
      const order = await payThrough(gateway)
      expect(await minutes()).toBe(1800)
      await post(`${credentials.shop_url}/orders/${order.id}/refund`, {})
      await until(`${gateway} refunds`, async () => {
        const { payment } = await read<Order>(`/v1/orders/${order.id}`)
        return payment.status === 'refunded' ? true : undefined
      })
      expect(await minutes()).toBe(0)
    },
    SLOW_MS,
  )

  it('names every vendor, the mails and the sign-in in its file, and each answers', async () => {
    const { emulators } = credentials
    expect(Object.keys(emulators).toSorted()).toEqual([...VENDORS, 'mail', 'sign_in'].toSorted())
    for (const url of Object.values(emulators)) expect((await fetch(`${url}/_emulator`)).status).toBe(200)
  })

  it(
    'keeps right books, and ends whole when it is interrupted',
    async () => {
      expect(await read('/v1/verification')).toMatchObject({ ok: true, findings: [] })
      const ended = new Promise((resolve) => demo.once('exit', resolve))
      demo.kill('SIGINT')
      expect(await ended).toBe(0)
      for (const url of [credentials.base_url, credentials.shop_url, ...Object.values(credentials.emulators)])
        await expect(fetch(url)).rejects.toThrow()
    },
    SLOW_MS,
  )
})

/** Buys the first package as a browser would: the shop's form, then every page's main button. */
async function payThrough(gateway: string): Promise<Order> {
  const home = await (await fetch(credentials.shop_url)).text()
  const [form = ''] = home.match(/<form class="card"[\s\S]*?<\/form>/) ?? []
  const offered = [...form.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]+)">/g)]
  const fields = Object.fromEntries(offered.map(([, name = '', value = '']) => [name, value]))
  let page = await post(`${credentials.shop_url}/buy`, { ...fields, gateway })
  let leads_back = false
  for (let step = 0; step < 4 && !leads_back; step++) {
    const html = await page.text()
    // A link of Telegram may be paid again: its page goes on offering that.
    const pressed = html.includes('>Оплачено<') ? undefined : mainForm(html)
    if (!pressed) {
      leads_back = html.includes(`href="${credentials.shop_url}`)
      break
    }
    page = await post(
      pressed.action === '' ? page.url : new URL(pressed.action, page.url).href,
      pressed.fields,
    )
    leads_back = page.url.startsWith(credentials.shop_url)
  }
  expect(leads_back, `the way back from ${gateway}`).toBe(true)
  return until(`${gateway} is paid`, async () => {
    const { items } = await read<{ items: Order[] }>('/v1/orders?customer_id=external_id:visitor&limit=1')
    const [order] = items
    return order?.payment.gateway === gateway && order.status === 'fulfilled' ? order : undefined
  })
}

/** The form of a page's main button, with what is filled in already. */
function mainForm(html: string): { action: string; fields: Record<string, string> } | undefined {
  for (const [, head = '', body = ''] of html.matchAll(/<form method="post"([^>]*)>([\s\S]*?)<\/form>/g)) {
    const button = /<button class="main"(?: name="(\w+)" value="(\w+)")?>/.exec(body)
    if (!button) continue
    const fields: Record<string, string> = {}
    for (const [tag] of body.matchAll(/<input[^>]*>/g)) {
      if (tag.includes('type="checkbox"')) continue
      fields[/name="([^"]+)"/.exec(tag)?.[1] ?? ''] = /value="([^"]*)"/.exec(tag)?.[1] ?? ''
    }
    const select = /<select name="([^"]+)">\s*<option value="([^"]*)"/.exec(body)
    if (select) fields[select[1] ?? ''] = select[2] ?? ''
    if (button[1] !== undefined) fields[button[1]] = button[2] ?? ''
    return { action: /action="([^"]*)"/.exec(head)?.[1] ?? '', fields }
  }
  return undefined
}

function post(url: string, fields: Record<string, string>): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(fields).toString(),
  })
}

async function read<T>(place: string): Promise<T> {
  const answer = await fetch(credentials.base_url + place, {
    headers: { authorization: `Bearer ${credentials.secret_key}` },
  })
  return (await answer.json()) as T
}

async function minutes(): Promise<number> {
  const wallet = await read<{ available: number }>('/v1/customers/external_id:visitor/wallets/minute')
  return wallet.available
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + 30_000
  while (performance.now() < deadline) {
    const seen = await look()
    if (seen !== undefined) return seen
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`waited in vain until ${what}`)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
