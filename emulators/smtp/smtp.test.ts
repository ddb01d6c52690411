import { createConnection } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startSmtpEmulator } from '../smtp.ts'
import type { CaughtMail, SmtpEmulator } from '../smtp.ts'

let smtp: SmtpEmulator
beforeAll(async () => {
  smtp = await startSmtpEmulator({ seed: 1 })
})
afterEach(() => smtp.control.reset())
afterAll(() => smtp?.close())

/** Speaks SMTP by hand, line by line; answers what the server said. */
function say(lines: readonly string[], port = Number(new URL(smtp.smtp_url).port)): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1')
    const heard: string[] = []
    const left = [...lines]
    socket.setTimeout(3000, () => socket.destroy())
    socket.on('data', (data) => {
      const text = data.toString()
      heard.push(text.trim())
      // The last line of an answer has a space behind the code.
      if (!/^\d{3} [^\n]*\n$/m.test(text.slice(text.trimEnd().lastIndexOf('\n') + 1))) return
      const next = left.shift()
      if (next === undefined) socket.end()
      else socket.write(`${next}\r\n`)
    })
    socket.on('close', () => resolve(heard))
    socket.on('error', reject)
  })
}

const MAIL = [
  'From: Shop <shop@example.com>',
  'To: anna@example.com',
  'Subject: =?utf-8?B?0J/RgNC40LLQtdGC?=',
  'Message-ID: <m1@example.com>',
  'Content-Type: text/plain; charset=utf-8',
  '',
  'Open https://shop.example/auth/mail?token=reg_1 now <script>alert(1)</script>',
  '.',
].join('\r\n')
const DELIVERY = [
  'EHLO test',
  'MAIL FROM:<shop@example.com>',
  'RCPT TO:<anna@example.com>',
  'DATA',
  MAIL,
  'QUIT',
]

describe('the mail server', () => {
  test('takes a mail and shows it decoded, with its links', async () => {
    await say(DELIVERY)
    const { items } = smtp.control.objects() as { items: CaughtMail[] }
    expect(items).toHaveLength(1)
    expect(items[0]).toMatchObject({
      from: 'shop@example.com',
      to: ['anna@example.com'],
      subject: 'Привет',
      message_id: '<m1@example.com>',
      links: ['https://shop.example/auth/mail?token=reg_1'],
    })
  })

  test('shows mails on a page without running what is in them', async () => {
    await say(DELIVERY)
    const list = await smtp.app.inject({ method: 'GET', url: '/' })
    expect(list.payload).toContain('Привет')
    const link = /href="(\/inbox\/[^"]+)"/.exec(list.payload)?.[1] ?? ''
    const page = await smtp.app.inject({ method: 'GET', url: link })
    expect(page.payload).toContain('<a href="https://shop.example/auth/mail?token=reg_1">')
    expect(page.payload).not.toContain('<script>')
    const found = await smtp.app.inject({ method: 'GET', url: '/mails?to=anna@example.com' })
    expect(found.json<{ items: unknown[] }>().items).toHaveLength(1)
    const none = await smtp.app.inject({ method: 'GET', url: '/mails?to=bob@example.com' })
    expect(none.json<{ items: unknown[] }>().items).toHaveLength(0)
  })

  test('refuses for now, loses, and keeps without an answer when told to', async () => {
    smtp.control.faults({ error_500: 1 })
    expect((await say(DELIVERY)).join('\n')).toContain('451')
    smtp.control.faults({ lose: 1 })
    expect((await say(DELIVERY)).at(-2)).toContain('250')
    expect(smtp.control.status().counts.objects).toEqual({ mails: 0 })
    smtp.control.faults({ timeout_after_charge: 1 })
    expect((await say(DELIVERY)).at(-1)).toContain('354')
    expect(smtp.control.status().counts.objects).toEqual({ mails: 1 })
  })

  test('with a user takes mails from him alone', async () => {
    const closed = await startSmtpEmulator({ settings: { user: 'shop', password: 'right' } })
    const port = Number(new URL(closed.smtp_url).port)
    const login = (password: string): string =>
      `AUTH PLAIN ${Buffer.from(`\0shop\0${password}`).toString('base64')}`
    expect((await say(['EHLO test', 'MAIL FROM:<a@example.com>', 'QUIT'], port)).join('\n')).toContain('530')
    expect((await say(['EHLO test', login('wrong'), 'QUIT'], port)).join('\n')).toContain('535')
    expect((await say(['EHLO test', login('right'), 'QUIT'], port)).join('\n')).toContain('235')
    await closed.close()
  })
})
