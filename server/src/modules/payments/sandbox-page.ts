import { createHash } from 'node:crypto'
import { formatDecimal } from '@kopilka/extension'
import { currencyDigits } from '#kernel/money'
import type { SandboxLink } from './gateways/sandbox/link.ts'
import type { SandboxEvent } from './gateways/sandbox/notification.ts'
import { readSandboxLink } from './gateways/sandbox/link.ts'
import { SIGNATURE_HEADER, signNotification } from './gateways/sandbox/notification.ts'
import { DECLINING_METHOD, externalId, PAYING_METHOD } from './gateways/sandbox.ts'
import type { SandboxConfig } from './gateways/sandbox.ts'

export type { SandboxLink } from './gateways/sandbox/link.ts'

/**
 * What the buyer can press. `twice` sends the same notification twice, `later` after the configured delay;
 * `pay_once` pays and keeps a method whose later charges are declined.
 */
export type SandboxButton = 'pay' | 'decline' | 'later' | 'twice' | 'pay_once'

/** A page as it goes out: these headers replace the server's usual ones of the same name. */
export interface SandboxPage {
  status: 200 | 404 | 410
  headers: Readonly<Record<string, string>>
  html: string
}

/** A notification the sandbox sends to this Kopilka's own webhook, `delay_ms` from now and not earlier. */
export interface SandboxNotification {
  path: string
  headers: Readonly<Record<string, string>>
  body: string
  delay_ms: number
}

/** What an opened page is about: a payment that can be paid now, or why it cannot. */
export type SandboxVisit =
  | { state: 'open'; link: SandboxLink }
  | { state: 'expired'; link: SandboxLink }
  | { state: 'unknown' }

/** The path notifications go to. */
const WEBHOOK_PATH = '/webhooks/payments/sandbox'

/** Reads a page's address: the payment id of its path and its `link` parameter. */
export function readVisit(
  config: SandboxConfig,
  address: { payment_id: string; link: unknown; now: Date },
): SandboxVisit {
  const link = readSandboxLink(config.secret, address.payment_id, address.link)
  if (!link) return { state: 'unknown' }
  return { state: address.now < link.expires_at ? 'open' : 'expired', link }
}

/** The buttons of a payment's page; `undefined` for a word that is none of them. */
export function readButton(link: SandboxLink, word: unknown): SandboxButton | undefined {
  return buttonsOf(link).find((button) => button === word)
}

/**
 * The notifications a pressed button sends, signed for the moment they are due. A button pressed again gives
 * an event of the same id: to the receiver it is a repeat.
 */
export function buildNotifications(
  config: SandboxConfig,
  press: { link: SandboxLink; button: SandboxButton; now: Date },
): SandboxNotification[] {
  const { link, button, now } = press
  const delay_ms = button === 'later' ? config.later_seconds * 1000 : 0
  const body = JSON.stringify(eventOf(link, button, now))
  const signature = signNotification(config.secret, body, new Date(now.getTime() + delay_ms))
  const headers = { 'content-type': 'application/json', [SIGNATURE_HEADER]: signature }
  const notification = { path: WEBHOOK_PATH, headers, body, delay_ms }
  return button === 'twice' ? [notification, notification] : [notification]
}

function eventOf(link: SandboxLink, button: SandboxButton, now: Date): SandboxEvent {
  const paid_status = link.capture ? 'succeeded' : 'authorized'
  const status = button === 'decline' ? 'failed' : paid_status
  const { payment_id, payment_number, order_id, currency } = link
  const method_prefix = button === 'pay_once' ? DECLINING_METHOD : PAYING_METHOD
  const saved_method = { id: `${method_prefix}${payment_id}`, title: 'Sandbox •••• 4242' }
  return {
    id: `sbxe_${payment_id}_${status}`,
    type: `payment.${status}`,
    created_at: now.toISOString(),
    payment: {
      id: externalId(payment_id),
      payment_id,
      payment_number,
      order_id,
      status,
      amount: String(link.amount),
      currency,
      ...(status === 'failed' ? { failure_reason: 'insufficient_funds' } : { paid_at: now.toISOString() }),
      ...(link.save_method && status !== 'failed' ? { saved_method } : {}),
    },
  }
}

function buttonsOf(link: SandboxLink): SandboxButton[] {
  const buttons: SandboxButton[] = ['pay', 'decline', 'later', 'twice']
  return link.save_method ? [...buttons, 'pay_once'] : buttons
}

const TEXTS = {
  en: {
    title: 'Test payment',
    note: 'This is the sandbox: no money moves.',
    order: 'Order',
    pay: 'Pay',
    decline: 'Decline: not enough money',
    later: 'Pay, tell the shop later',
    twice: 'Pay, tell the shop twice',
    pay_once: 'Pay, decline the next charges',
    back: 'Back to the shop',
    expired: 'The time to pay is over.',
    unknown: 'There is no such payment. The link may have been copied in part.',
  },
  ru: {
    title: 'Тестовый платёж',
    note: 'Это песочница: деньги не списываются.',
    order: 'Заказ',
    pay: 'Оплатить',
    decline: 'Отказать: не хватает денег',
    later: 'Оплатить, сообщить магазину позже',
    twice: 'Оплатить, сообщить магазину дважды',
    pay_once: 'Оплатить, следующие списания отклонять',
    back: 'Вернуться в магазин',
    expired: 'Время оплаты вышло.',
    unknown: 'Такого платежа нет. Возможно, ссылка скопирована не целиком.',
  },
} as const

type Locale = keyof typeof TEXTS

const STYLE = `
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:Canvas;color:CanvasText}
main{box-sizing:border-box;width:min(26rem,100vw);padding:1.5rem}
h1{font-size:1.1rem;margin:0}
.amount{font-size:2.2rem;font-weight:600;margin:.5rem 0 0;overflow-wrap:anywhere}
.quiet{opacity:.7;margin:.25rem 0;overflow-wrap:anywhere}
form{display:grid;gap:.6rem;margin:1.5rem 0}
button{font:inherit;padding:.75rem 1rem;border:1px solid GrayText;border-radius:.6rem}
button{background:none;color:inherit;cursor:pointer}
button:first-child{background:#1a7f4b;border-color:#1a7f4b;color:#fff}
button:focus-visible,a:focus-visible{outline:3px solid #4c9ffe;outline-offset:2px}
`
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

/**
 * The page for a visit. No script; the one style is allowed by its hash. The buttons post `button=…` to the
 * page's own address, to be answered with 303 to `link.return_url` (the policy allows a form to end up
 * there). `accept_language` is used where there is no link to tell the language.
 */
export function renderSandboxPage(
  visit: SandboxVisit,
  address: { link: unknown; accept_language?: string },
): SandboxPage {
  const locale = localeOf(visit.state === 'unknown' ? address.accept_language : visit.link.locale)
  if (visit.state === 'unknown') return page(404, locale, `<p>${TEXTS[locale].unknown}</p>`)
  const { link } = visit
  const back = `<p><a href="${escapeHtml(link.return_url)}">${TEXTS[locale].back}</a></p>`
  if (visit.state === 'expired') {
    return page(410, locale, `${summary(link, locale)}<p>${TEXTS[locale].expired}</p>${back}`)
  }
  const query = new URLSearchParams({ link: String(address.link) })
  const action = `/sandbox/pay/${encodeURIComponent(link.payment_id)}?${query.toString()}`
  const buttons = buttonsOf(link).map(
    (button) => `<button type="submit" name="button" value="${button}">${TEXTS[locale][button]}</button>`,
  )
  const form = `<form method="post" action="${escapeHtml(action)}">${buttons.join('')}</form>`
  return page(200, locale, `${summary(link, locale)}${form}${back}`, formTarget(link.return_url))
}

function summary(link: SandboxLink, locale: Locale): string {
  const texts = TEXTS[locale]
  return (
    `<p class="amount">${escapeHtml(amountText(link, locale))}</p>` +
    `<p class="quiet">${escapeHtml(link.description)}</p>` +
    `<p class="quiet">${texts.order} ${escapeHtml(link.order_id)}</p>`
  )
}

function page(
  status: SandboxPage['status'],
  locale: Locale,
  content: string,
  form_target?: string,
): SandboxPage {
  const texts = TEXTS[locale]
  const form_action = form_target === undefined ? "'none'" : `'self' ${form_target}`
  const html =
    `<!doctype html><html lang="${locale}"><head><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width,initial-scale=1">` +
    `<meta name="robots" content="noindex">` +
    `<title>${texts.title}</title><style>${STYLE}</style></head>` +
    `<body><main><h1>${texts.title}</h1><p class="quiet">${texts.note}</p>${content}</main></body></html>`
  const policy =
    `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; form-action ${form_action}; ` +
    `base-uri 'none'; frame-ancestors 'none'`
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policy,
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  }
  return { status, headers, html }
}

/** A browser checks the whole chain of a form's redirects, so the shop's origin must be allowed as well. */
function formTarget(return_url: string): string {
  const url = new URL(return_url)
  return url.origin === 'null' ? url.protocol : url.origin
}

function amountText(link: SandboxLink, locale: Locale): string {
  const decimal = formatDecimal(link.amount, currencyDigits(link.currency))
  if (link.currency === 'XTR') return `${decimal} ⭐`
  const format = new Intl.NumberFormat(locale, { style: 'currency', currency: link.currency })
  return format.format(decimal as `${number}`)
}

function localeOf(text: string | undefined): Locale {
  return /^ru\b/i.test(text ?? '') ? 'ru' : 'en'
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}
