import { createHash } from 'node:crypto'
import type { VendorEvent, WebhookRequest } from '@kopilka/extension'
import { describe, expect, it } from 'vitest'
import sandbox from './gateways/sandbox.ts'
import { sandboxLinkUrl } from './gateways/sandbox/link.ts'
import { buildNotifications, readButton, readVisit, renderSandboxPage } from './sandbox-page.ts'
import type { SandboxButton, SandboxLink, SandboxNotification } from './sandbox-page.ts'

const CONFIG = sandbox.configSchema.parse({ secret: 'sandbox-canary-0123456789abcdef', later_seconds: 20 })
const NOW = new Date('2026-03-01T12:00:00.000Z')
const LINK: SandboxLink = {
  payment_id: 'pay_00000000000000000000000001',
  payment_number: 41,
  order_id: 'ord_00000000000000000000000001',
  amount: 59_900n,
  currency: 'RUB',
  description: 'Минуты <script>alert(1)</script> "500"',
  return_url: 'https://shop.example/return?a=1&b=2',
  capture: true,
  save_method: false,
  locale: 'ru',
  expires_at: new Date('2026-03-01T13:00:00.000Z'),
}

function tokenOf(link: SandboxLink, secret = CONFIG.secret): string {
  return new URL(sandboxLinkUrl(secret, 'https://kopilka.example', link)).searchParams.get('link') ?? ''
}

function visit(link: unknown, payment_id = LINK.payment_id, now = NOW) {
  return readVisit(CONFIG, { payment_id, link, now })
}

function page(link: SandboxLink, accept_language?: string) {
  const token = tokenOf(link)
  return renderSandboxPage(visit(token, link.payment_id), {
    link: token,
    ...(accept_language === undefined ? {} : { accept_language }),
  })
}

/** The events of a notification as the gateway reads it at this moment; none when it is refused. */
async function deliver(
  notification: SandboxNotification | undefined,
  now: Date,
): Promise<readonly VendorEvent[]> {
  if (!notification) throw new Error('every button sends a notification')
  const request: WebhookRequest = {
    method: 'POST',
    path: notification.path,
    headers: notification.headers,
    query: {},
    raw_body: Buffer.from(notification.body),
    remote_address: '127.0.0.1',
  }
  const context = { now, base_url: 'https://kopilka.example', cache: new Map() }
  const result = await sandbox.parseWebhook(CONFIG, request, context)
  return result.verdict === 'accepted' ? result.events : []
}

function press(button: SandboxButton, link = LINK, now = NOW): SandboxNotification[] {
  return buildNotifications(CONFIG, { link, button, now })
}

describe("a visit of the sandbox's page", () => {
  it('is open before the deadline and expired from it on', () => {
    const token = tokenOf(LINK)
    expect(visit(token)).toEqual({ state: 'open', link: LINK })
    const last = new Date(LINK.expires_at.getTime() - 1)
    expect(visit(token, LINK.payment_id, last).state).toBe('open')
    expect(visit(token, LINK.payment_id, LINK.expires_at).state).toBe('expired')
  })

  it('is unknown for a link of another secret, another payment, cut, altered or of another kind', () => {
    const token = tokenOf(LINK)
    const [content = '', mac = ''] = token.split('.')
    const cheaper = Buffer.from(
      Buffer.from(content, 'base64url').toString().replace('"59900"', '"1"'),
    ).toString('base64url')
    const wrong: unknown[] = [
      tokenOf(LINK, 'another-secret-0123456789'),
      token.slice(0, -1),
      token.slice(1),
      `${content}.${mac.toUpperCase()}`,
      `${content}.`,
      content,
      `${cheaper}.${mac}`,
      [token, token],
      undefined,
      '',
      'x'.repeat(20_000),
    ]
    expect(wrong.filter((link) => visit(link).state !== 'unknown')).toEqual([])
    expect(visit(token, 'pay_00000000000000000000000002')).toEqual({ state: 'unknown' })
  })

  it('is unknown when any one letter of the link was changed', () => {
    const token = tokenOf(LINK)
    for (let position = 0; position < token.length; position++) {
      const letter = token.charAt(position) === 'A' ? 'B' : 'A'
      const changed = token.slice(0, position) + letter + token.slice(position + 1)
      expect([position, visit(changed).state]).toEqual([position, 'unknown'])
    }
  })
})

describe("the sandbox's page", () => {
  it('shows the amount in the words of its language and a button for each outcome', () => {
    const { status, html } = page(LINK)
    expect(status).toBe(200)
    expect(html).toContain('<html lang="ru">')
    expect(html.replace(/\u00a0|\u202f/g, ' ')).toContain('599,00 ₽')
    expect([...html.matchAll(/name="button" value="(\w+)"/g)].map(([, value]) => value)).toEqual([
      'pay',
      'decline',
      'later',
      'twice',
    ])
    expect(page({ ...LINK, locale: 'en' }).html).toContain('RUB')
    expect(page({ ...LINK, locale: 'en', save_method: true }).html).toContain('value="pay_once"')
    expect(page({ ...LINK, currency: 'XTR', amount: 5n }).html).toContain('>5 ⭐<')
  })

  it('posts to its own signed address', () => {
    const action = /<form method="post" action="([^"]+)">/
      .exec(page(LINK).html)?.[1]
      ?.replaceAll('&#38;', '&')
    const url = new URL(action ?? '', 'https://kopilka.example')
    expect(url.pathname).toBe(`/sandbox/pay/${LINK.payment_id}`)
    expect(visit(url.searchParams.get('link')).state).toBe('open')
  })

  it('carries no script, and text from the order stays text', () => {
    const { html } = page(LINK)
    expect(html).not.toContain('<script')
    expect(html).not.toMatch(/\son\w+=|style="|javascript:/i)
    expect(html).toContain('&#60;script&#62;alert(1)')
    expect(html).toContain('href="https://shop.example/return?a=1&#38;b=2"')
  })

  it('allows its one style by hash and its form to end at the shop only', () => {
    const { headers, html } = page(LINK)
    const style = /<style>([\s\S]*)<\/style>/.exec(html)?.[1] ?? ''
    const hash = createHash('sha256').update(style).digest('base64')
    expect(headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; form-action 'self' https://shop.example; ` +
        `base-uri 'none'; frame-ancestors 'none'`,
    )
    expect(headers['cache-control']).toBe('no-store')
    expect(headers['referrer-policy']).toBe('no-referrer')
    const app = page({ ...LINK, return_url: 'myapp://paid/1' })
    expect(app.headers['content-security-policy']).toContain("form-action 'self' myapp:;")
  })

  it('has no button when the time is over or the link is not ours', () => {
    const token = tokenOf(LINK)
    const late = renderSandboxPage(visit(token, LINK.payment_id, LINK.expires_at), { link: token })
    expect([late.status, late.html.includes('<button')]).toEqual([410, false])
    expect(late.html).toContain('Время оплаты вышло')
    const unknown = renderSandboxPage(visit('x.y'), { link: 'x.y', accept_language: 'ru-RU,ru;q=0.9' })
    expect([unknown.status, unknown.html.includes('<form')]).toEqual([404, false])
    expect(unknown.html).toContain('Такого платежа нет')
    expect(unknown.headers['content-security-policy']).toContain("form-action 'none'")
    expect(renderSandboxPage({ state: 'unknown' }, { link: 'x' }).html).toContain('There is no such payment')
  })
})

describe("the sandbox's buttons", () => {
  it('are the words the page shows, and no others', () => {
    expect(readButton(LINK, 'pay')).toBe('pay')
    expect(readButton(LINK, 'pay_once')).toBeUndefined()
    expect(readButton({ ...LINK, save_method: true }, 'pay_once')).toBe('pay_once')
    expect(
      ['', 'PAY', 'refund', '__proto__', undefined, ['pay']].map((word) => readButton(LINK, word)),
    ).toEqual(Array(6).fill(undefined))
  })

  it('pay: one signed notification of the whole payment', async () => {
    const [notification, ...more] = press('pay')
    expect([notification?.path, notification?.delay_ms, more]).toEqual(['/webhooks/payments/sandbox', 0, []])
    expect(await deliver(notification, NOW)).toEqual([
      {
        kind: 'payment',
        trust: 'signed',
        external_event_id: `sbxe_${LINK.payment_id}_succeeded`,
        type: 'payment.succeeded',
        external_id: `sbx_${LINK.payment_id}`,
        payment_id: LINK.payment_id,
        payment_number: 41,
        occurred_at: NOW,
        payment: {
          external_id: `sbx_${LINK.payment_id}`,
          payment_id: LINK.payment_id,
          payment_number: 41,
          order_id: LINK.order_id,
          status: 'succeeded',
          amount: 59_900n,
          currency: 'RUB',
          is_test: true,
          paid_at: NOW,
        },
      },
    ])
  })

  it('decline: a failed payment with a reason and no time of payment', async () => {
    const [event] = await deliver(press('decline')[0], NOW)
    expect(event).toMatchObject({
      type: 'payment.failed',
      payment: { status: 'failed', failure_reason: 'insufficient_funds' },
    })
    expect(event).not.toHaveProperty('payment.paid_at')
  })

  it('twice: the same event two times', () => {
    const [first, second, ...more] = press('twice')
    expect(second).toEqual(first)
    expect(more).toEqual([])
  })

  it('later: due after the configured delay and fresh at that moment', async () => {
    const [notification] = press('later')
    expect(notification?.delay_ms).toBe(20_000)
    const due = new Date(NOW.getTime() + 20_000)
    expect(await deliver(notification, due)).toMatchObject([{ type: 'payment.succeeded' }])
    const long_after = new Date(due.getTime() + 301_000)
    expect(await deliver(notification, long_after)).toEqual([])
  })

  it('pressed again give an event of the same id, another outcome an event of another', async () => {
    const idOf = async (button: SandboxButton, now: Date) => {
      const events = await deliver(press(button, LINK, now)[0], now)
      return events[0]?.external_event_id
    }
    const minute_later = new Date(NOW.getTime() + 60_000)
    expect(await idOf('pay', minute_later)).toBe(await idOf('pay', NOW))
    expect(await idOf('decline', NOW)).not.toBe(await idOf('pay', NOW))
  })

  it('hold the money when the payment is two-stage, and keep the method when the buyer agreed', async () => {
    const link = { ...LINK, capture: false, save_method: true }
    const kept = async (button: SandboxButton) => {
      const [event] = await deliver(press(button, link)[0], NOW)
      return event
    }
    expect(await kept('pay')).toMatchObject({
      type: 'payment.authorized',
      payment: { status: 'authorized', saved_method: { external_id: `sbxm_pays_${LINK.payment_id}` } },
    })
    expect(await kept('pay_once')).toMatchObject({
      payment: { saved_method: { external_id: `sbxm_declines_${LINK.payment_id}` } },
    })
    expect(await kept('decline')).not.toHaveProperty('payment.saved_method')
  })
})
