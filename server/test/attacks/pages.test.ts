import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type SmtpEmulator, startSmtpEmulator } from '@kopilka/emulators/smtp'
import { createMailer } from '../../src/transports/mail.ts'
import { type Chromium, findChromium, startChromium } from '../chromium.ts'
import { startWorld, type World } from '../world.ts'

/** Pages as a browser builds them, with text of strangers in everything that is kept and shown. */
const ACT = 'window.pwned=1'
const TEXT = `"><img src=x onerror="${ACT}"><svg onload="${ACT}"></svg>'<script>${ACT}</script>`
const QUERY = encodeURIComponent(TEXT)
const PROGRAM = findChromium()

let world: World
let smtp: SmtpEmulator
let browser: Chromium | undefined
const pages: Record<string, string> = {}
let authorization = ''
beforeAll(async () => {
  if (PROGRAM === undefined) return
  ;[world, smtp] = [await startWorld(), await startSmtpEmulator()]
  await furnish()
  browser = await startChromium(PROGRAM)
}, 60_000)
afterAll(async () => {
  await browser?.close()
  await smtp?.close()
  await world?.close()
})

/** Puts the text wherever a page may show it, and notes the pages' addresses. */
async function furnish(): Promise<void> {
  const must = async <T extends { id: string }>(url: string, body: object): Promise<T> => {
    const answer = await world.call<T>('POST', url, body)
    if (answer.status !== 201) throw new Error(`${url}: ${answer.text}`)
    return answer.body
  }
  const grants = [{ unit: 'minute', amount: 60 }]
  const product = await must('/v1/products', { key: 'evil', name: TEXT, description: TEXT, grants })
  const price = await must('/v1/prices', { product_id: product.id, currency: 'RUB', amount: 10_000 })
  const customer = await must('/v1/customers', { external_id: TEXT, name: TEXT, metadata: { note: TEXT } })
  for (const gateway of ['sandbox', 'yookassa']) {
    const { payment } = await must<{ id: string; payment: { checkout_url: string } }>('/v1/orders', {
      customer_id: customer.id,
      gateway,
      lines: [{ price_id: price.id, quantity: 1 }],
      return_url: 'https://shop.example/back',
      receipt_contact: { email: 'buyer@example.com' },
    })
    pages[`the page of ${gateway}`] = payment.checkout_url
  }
  const mailer = createMailer({ smtp_url: smtp.smtp_url, from: 'shop@shop.example' })
  await mailer.send({ to: 'anna@mail.example', subject: TEXT, text: TEXT, message_id: 'one' })
  mailer.close()
  pages['the mails that were caught'] = `${smtp.base_url}/`
  pages['the panel of staff'] = `${world.base_url}/admin/`
  pages['the link of a set-up'] = `${world.base_url}/setup?token=${QUERY}`
  pages['the link of a mail'] = `${world.base_url}/auth/mail?token=${QUERY}`
  pages['the way back from a vendor'] = `${world.base_url}/auth/callback/vk?state=${QUERY}&code=${QUERY}`
  pages['the page of a payment that is none'] = `${world.base_url}/sandbox/pay/${QUERY}?link=${QUERY}`
  pages['the documentation'] = `${world.base_url}/docs?x=${QUERY}#${QUERY}`
  authorization = `Basic ${Buffer.from(`${world.secret_key}:`).toString('base64')}`
}

interface Seen {
  is_run: boolean
  aliens: number
  text: string
}
const LOOK = `({
  is_run: window.pwned === 1,
  aliens: document.querySelectorAll('img[src="x"], [onerror], [onload]').length,
  text: document.body.innerText,
})`
/** Where the text is shown: there it has to be seen, or nothing was tried. */
const SHOWN = new Set(['the page of sandbox', 'the mails that were caught', 'the panel of staff'])

describe(`A31: in a browser${PROGRAM === undefined ? ' (skipped: there is no chromium)' : ''}`, () => {
  test.skipIf(PROGRAM === undefined)(
    'text of strangers is text on every page, and runs nowhere',
    async () => {
      expect(Object.keys(pages).length).toBeGreaterThan(8)
      for (const [name, url] of Object.entries(pages)) {
        const headers = url.endsWith('/admin/') ? { authorization } : {}
        const seen = await browser?.evaluate<Seen>(url, LOOK, headers)
        expect([name, seen?.is_run, seen?.aliens]).toEqual([name, false, 0])
        if (SHOWN.has(name)) expect([name, seen?.text.includes('onerror=')]).toEqual([name, true])
      }
    },
    60_000,
  )

  test.skipIf(PROGRAM === undefined)('and this browser would run it, were it not', async () => {
    const seen = await browser?.evaluate<Seen>(`data:text/html,<p>${QUERY}</p>`, LOOK)
    expect([seen?.is_run, (seen?.aliens ?? 0) > 0]).toEqual([true, true])
  })
})
