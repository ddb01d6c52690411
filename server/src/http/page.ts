import { createHash } from 'node:crypto'
import type { FastifyReply } from 'fastify'
import { PAGE_HEADERS } from './security-headers.ts'

/** A piece of HTML that is safe to insert: made by {@link html} only. */
export interface Html {
  readonly html: string
}

/** Writes HTML; every inserted text is escaped, inserted {@link Html} is taken as it is. */
export function html(
  parts: TemplateStringsArray,
  ...values: readonly (string | number | Html | readonly Html[])[]
): Html {
  const text = parts.reduce((done, part, index) => done + insert(values[index - 1] ?? '') + part)
  return { html: text }
}

function insert(value: string | number | Html | readonly Html[]): string {
  if (typeof value === 'object') return 'html' in value ? value.html : value.map((item) => item.html).join('')
  return String(value).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`)
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5b6578; --paper: #fff; --ground: #f3f5f9;
  --line: #dce1ea; --accent: #2a5bd7; --accent-ink: #fff; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf2; --soft: #a0a9ba; --paper: #1b2130;
  --ground: #11151f; --line: #2e3648; --accent: #7aa2ff; --accent-ink: #0b1020; --bad: #ff8a80 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px;
  background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif }
main { width: 100%; max-width: 560px; background: var(--paper); border: 1px solid var(--line);
  border-radius: 14px; padding: 32px }
h1 { margin: 0 0 12px; font-size: 24px; line-height: 1.25 }
p { margin: 0 0 16px }
.soft { color: var(--soft); font-size: 14px }
.bad { color: var(--bad) }
label { display: block; margin: 0 0 6px; font-size: 14px; color: var(--soft) }
input { width: 100%; padding: 10px 12px; margin: 0 0 16px; font: inherit; color: inherit;
  background: var(--ground); border: 1px solid var(--line); border-radius: 8px }
button { padding: 11px 20px; font: inherit; font-weight: 600; color: var(--accent-ink);
  background: var(--accent); border: 0; border-radius: 8px; cursor: pointer }
button:focus-visible, input:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
pre { margin: 0 0 16px; padding: 14px; overflow-x: auto; background: var(--ground);
  border: 1px solid var(--line); border-radius: 8px;
  font: 14px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; user-select: all }
main.wide { max-width: 1200px }
.scroll { overflow-x: auto; margin: 0 0 24px }
table { width: 100%; border-collapse: collapse; font-size: 14px }
th, td { padding: 8px 12px 8px 0; text-align: left; white-space: nowrap;
  border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-weight: 500 }
h2 { margin: 24px 0 8px; font-size: 17px }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere }
`
/** Not written in a template: a formatter would move what the hash is made of. */
const STYLE_TAG: Html = { html: `<style>${STYLE}</style>` }
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

/**
 * A page may show our one style sheet, post forms to this server, and nothing else: no script, no image, no
 * frame.
 */
const PAGE_POLICY =
  `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; ` +
  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

/** Answers with one plain page. It holds no script and is kept by no cache. */
export function sendPage(
  reply: FastifyReply,
  page: { status?: number; locale?: string; title: string; body: Html; is_wide?: boolean },
): FastifyReply {
  const text = html`<!doctype html>
    <html lang="${page.locale ?? 'en'}">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="robots" content="noindex" />
        <title>${page.title}</title>
        ${STYLE_TAG}
      </head>
      <body>
        <main class="${page.is_wide === true ? 'wide' : ''}">${page.body}</main>
      </body>
    </html> `
  return reply
    .status(page.status ?? 200)
    .headers(PAGE_HEADERS)
    .header('content-security-policy', PAGE_POLICY)
    .type('text/html; charset=utf-8')
    .serializer(String)
    .send(text.html)
}
