import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { html, sendPage } from './page.ts'
import { openLab, type Lab } from './server.fixtures/lab.ts'

let lab: Lab
beforeAll(async () => {
  lab = await openLab((app) => {
    app.get('/page', { config: { who: { anonymous: true } } }, (request, reply) =>
      sendPage(reply, {
        status: 401,
        title: '<title>',
        body: html`<p>${String(request.headers['x-text'])}</p>`,
      }),
    )
  })
})
afterAll(() => lab.close())

test('A31: whatever is inserted into a page stays text', async () => {
  const evil = `"><script>alert(1)</script>&amp;'`
  const { body } = await lab.app.inject({ url: '/page', headers: { 'x-text': evil } })
  expect(body).toContain('<p>&#34;&#62;&#60;script&#62;alert(1)&#60;/script&#62;&#38;amp;&#39;</p>')
  expect(body).toContain('<title>&#60;title&#62;</title>')
  expect(body).not.toContain('<script')
})

test('pieces of pages are not escaped twice, lists of them are put together', () => {
  const rows = ['a<', 'b'].map((text) => html`<li>${text}</li>`)
  const page = html`<ul>
      ${rows}
    </ul>
    ${rows[1] ?? ''}${7}`
  expect(page.html.replaceAll(/\s/g, '')).toBe('<ul><li>a&#60;</li><li>b</li></ul><li>b</li>7')
})

test('a page allows its own style sheet and nothing else', async () => {
  const answer = await lab.app.inject('/page')
  const policy = String(answer.headers['content-security-policy'])
  expect(answer.headers).toMatchObject({
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
  })
  const [, style = ''] = /<style>([^]*?)<\/style>/.exec(answer.body) ?? []
  expect(policy).toContain(`style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`)
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toMatch(/unsafe|\*|https?:/)
  expect([answer.statusCode, answer.headers['content-type'], answer.headers['cache-control']]).toEqual([
    401,
    'text/html; charset=utf-8',
    'no-store',
  ])
})
