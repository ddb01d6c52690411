/** Text made safe for HTML content and double-quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character)
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** The link back to the shop; nothing when no address of it is known. */
export function wayBack(shop_url: string, words: string): string {
  if (shop_url === '') return ''
  return `<a class="button" rel="noreferrer" href="${escapeHtml(shop_url)}">${escapeHtml(words)}</a>`
}

/** Headers of a page for people: nothing is loaded from anywhere, nothing is kept. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}

const STYLE = `
:root{color-scheme:light dark;--ink:#16202a;--soft:#5b6875;--line:#d9dfe5;
--back:#eef1f4;--card:#fff;--main:#2457d6;--on:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#9aa7b4;--line:#36424e;
--back:#12181e;--card:#1b242c;--main:#8fb0ff;--on:#0b1220}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:24px 12px;background:var(--back);
color:var(--ink);font:16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:420px;padding:24px;background:var(--card);
border:1px solid var(--line);border-radius:16px}
.note{margin:0 0 16px;padding:6px 10px;border-radius:8px;background:var(--back);
color:var(--soft);font-size:13px}
h1{margin:0;font-size:28px;letter-spacing:-.02em}
p{margin:4px 0 20px;color:var(--soft);overflow-wrap:anywhere}
form{margin:0 0 12px}
label{display:block;margin:0 0 12px;font-size:14px;color:var(--soft)}
input[type=text],select{display:block;width:100%;margin-top:4px;padding:11px 12px;font:inherit;
color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:10px}
.row{display:flex;gap:8px;align-items:center}
.row input{margin:0}
button,.button{display:block;width:100%;padding:12px;border:1px solid var(--line);border-radius:10px;
font:inherit;font-weight:600;text-align:center;text-decoration:none;color:var(--ink);
background:transparent;cursor:pointer}
.main{background:var(--main);border-color:var(--main);color:var(--on)}
:focus-visible{outline:3px solid var(--main);outline-offset:2px}
hr{border:0;border-top:1px solid var(--line);margin:20px 0}
@media(prefers-reduced-motion:no-preference){button,.button{transition:background-color .12s}}`

export interface PageInput {
  language: string
  /** Text. */
  title: string
  /** Text in a strip above all: says that this is an emulator. */
  note: string
  /** HTML. */
  body: string
}

/** A small page in one column, without scripts. */
export function renderPage(input: PageInput): string {
  return `<!doctype html>
<html lang="${input.language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(input.title)}</title><style>${STYLE}</style></head>
<body><main><div class="note">${escapeHtml(input.note)}</div>
${input.body}
</main></body></html>
`
}
