import { describe, expect, test } from 'vitest'
import { createLog, type LogOptions } from './log.ts'

const API_KEY = 'sk_test_9fK2mQ7xZp4LwN8vB3cR6tY1aH5jD0sE'
const WEBHOOK_SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const VENDOR_KEY = 'wk7Qz1-vendor-key-without-any-prefix'
const BOT_TOKEN = '123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawQ'
const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c3JfMSJ9.c2lnbmF0dXJlLW9mLXRoaXMtdG9rZW4'
const PASSWORD = 'correct horse battery staple'
const CARD = '4111111111111111'
const EVERY_SECRET = [API_KEY, WEBHOOK_SECRET, VENDOR_KEY, BOT_TOKEN, TOKEN, PASSWORD, CARD]

function capture(options: LogOptions = {}) {
  const lines: string[] = []
  const log = createLog({
    is_readable: false,
    level: 'trace',
    secrets: () => [VENDOR_KEY],
    write: (line) => lines.push(line),
    ...options,
  })
  return { log, lines, text: () => lines.join('') }
}

/** Every fragment of twelve letters of a secret counts as a leak, not only the whole. */
function expectNoSecret(text: string): void {
  for (const secret of EVERY_SECRET) {
    const body = secret.replace(/^(sk_test_|whsec_|\d{9}:)/, '')
    for (let at = 0; at + 12 <= body.length; at++) {
      expect(text, `a part of ${secret.slice(0, 12)}… was logged`).not.toContain(body.slice(at, at + 12))
    }
  }
}

/** The shapes a secret comes in, by what they are called in a failure. */
const SHAPES: Record<string, (log: ReturnType<typeof capture>['log']) => void> = {
  'a header': (log) =>
    log.info({ headers: { authorization: `Bearer ${API_KEY}`, cookie: `session=${TOKEN}` } }, 'request'),
  'raw headers': (log) =>
    log.info({ raw: ['Authorization', `Basic ${Buffer.from(`${API_KEY}:`).toString('base64')}`] }, 'request'),
  'header pairs': (log) =>
    log.info(
      {
        pairs: [
          ['x-api-key', VENDOR_KEY],
          ['Set-Cookie', PASSWORD],
        ],
      },
      'request',
    ),
  'a nested member': (log) =>
    log.info({ a: { b: { c: { client_secret: PASSWORD, list: [{ password: PASSWORD }] } } } }, 'x'),
  'a member of another spelling': (log) =>
    log.info({ 'Secret-Key': PASSWORD, apiKey: PASSWORD, PASSWORD_1: PASSWORD }, 'x'),
  'an object under a secret name': (log) => log.info({ credentials: { user: 'a', value: PASSWORD } }, 'x'),
  'the message': (log) => log.info(`called with ${API_KEY} and ${TOKEN} for ${CARD}`),
  'an argument of the message': (log) =>
    log.info('called with %s and %j', API_KEY, { token: TOKEN, pan: CARD }),
  'an error': (log) =>
    log.error(new Error(`refused ${API_KEY}`, { cause: new Error(`by ${VENDOR_KEY}`) }), 'failed'),
  'an error with members': (log) =>
    log.error({ err: Object.assign(new Error('x'), { config: { headers: { Authorization: VENDOR_KEY } } }) }),
  'an aggregate error': (log) =>
    log.error({ err: new AggregateError([new Error(BOT_TOKEN), new Error(WEBHOOK_SECRET)], 'both') }, 'x'),
  'the facts of a child': (log) =>
    log.child({ request_id: 'req_1', key: API_KEY, webhook_secret: VENDOR_KEY }).warn('x'),
  'a URL': (log) =>
    log.info({ url: `https://user:${VENDOR_KEY}@host/bot${BOT_TOKEN}/getMe?token=${VENDOR_KEY}&a=1` }, 'x'),
  'a URL object': (log) =>
    log.info({ url: new URL(`postgres://kopilka:${VENDOR_KEY}@127.0.0.1/kopilka`) }, 'x'),
  'an encoded value': (log) =>
    log.info({ query: encodeURIComponent(VENDOR_KEY), b: Buffer.from(VENDOR_KEY).toString('base64') }, 'x'),
  'JSON in a text': (log) =>
    log.info(
      {
        body: JSON.stringify({ secret_key: VENDOR_KEY, password: PASSWORD, deep: { token: TOKEN } }),
      },
      'x',
    ),
  'JSON in JSON': (log) =>
    log.info({ body: JSON.stringify({ raw: JSON.stringify({ password: PASSWORD, a: 1 }) }) }, 'x'),
  'a form body': (log) =>
    log.info({ body: `login=a&password=${encodeURIComponent(VENDOR_KEY)}&cvc=123` }, 'x'),
  bytes: (log) => log.info({ raw_body: Buffer.from(PASSWORD) }, 'x'),
  'a map and a set': (log) =>
    log.info({ map: new Map([['authorization', VENDOR_KEY]]), set: new Set([API_KEY]) }, 'x'),
  'a card number': (log) =>
    log.info(
      { number: 4_111_111_111_111_111, text: '4111 1111 1111 1111', other: '4111-1111-1111-1111' },
      'x',
    ),
  'the name of a member': (log) => log.info({ seen: { [API_KEY]: 1, [VENDOR_KEY]: 2 } }, 'x'),
  'a private key': (log) =>
    log.info({ pem: `-----BEGIN PRIVATE KEY-----\n${VENDOR_KEY}\n-----END PRIVATE KEY-----` }, 'x'),
  'a deep tree': (log) =>
    log.info({ a: { b: { c: { d: { e: { f: { g: { h: { i: API_KEY } } } } } } } } }, 'x'),
}

describe('A52: what must not be logged', () => {
  test.each(Object.keys(SHAPES))('no part of a secret is written when it comes as %s', (name) => {
    const json = capture()
    const readable = capture({ is_readable: true })
    SHAPES[name]?.(json.log)
    SHAPES[name]?.(readable.log)
    expect(json.lines).toHaveLength(1)
    expect(readable.lines).toHaveLength(1)
    expectNoSecret(json.text())
    expectNoSecret(readable.text())
    expect(json.text() + readable.text()).not.toMatch(/cvc=123|4111|staple|horse/)
    // Base64 of a Basic header and numbers of a Buffer would hide a secret from the search above, not from a
    // reader.
    expect(json.text()).not.toContain(Buffer.from(API_KEY.slice(8, 32)).toString('base64').slice(4, 20))
    expect(json.text()).not.toContain('99,111,114,114')
  })

  test('a secret that becomes known later is hidden from then on', () => {
    const known: string[] = []
    const { log, text } = capture({ secrets: () => known })
    known.push('a-new-gateway-key')
    log.info({ note: 'uses a-new-gateway-key now' }, 'configured')
    expect(text()).not.toContain('a-new-gateway-key')
  })
})

describe('what must be logged', () => {
  test('a line is JSON with time, level, process and the facts, unchanged', () => {
    const { log, lines } = capture()
    log
      .child({ request_id: 'req_01' })
      .info(
        { order_id: 'ord_01k8', amount: 19_900n, currency: 'RUB', tokens_used: 150, has_secret: true },
        'the order was paid',
      )
    const line: unknown = JSON.parse(lines[0] ?? '')
    expect(line).toMatchObject({
      level: 'info',
      pid: process.pid,
      request_id: 'req_01',
      order_id: 'ord_01k8',
      amount: 19_900,
      currency: 'RUB',
      tokens_used: 150,
      has_secret: true,
      msg: 'the order was paid',
    })
    expect(line).toHaveProperty('time', expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/))
  })

  test('ids, amounts, moments and Telegram numbers are no secrets', () => {
    const facts = {
      key_id: 'key_01k8x2v5m3q7r9t1w4y6z8a0bc',
      telegram_id: 5_123_456_789,
      at: 1_763_692_800_123,
      big: 9_007_199_254_740_991,
      path: '/v1/customers/cus_01k8x2v5m3q7r9t1w4y6z8a0bc',
      digest: '4111111111111112',
    }
    const { log, lines } = capture()
    log.info(facts, 'seen')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject(facts)
  })

  test('an error keeps its type, message, stack and cause', () => {
    const { log, text } = capture()
    log.error(new TypeError('no such thing', { cause: new Error('the reason') }), 'it failed')
    expect(text()).toContain('TypeError')
    expect(text()).toContain('no such thing')
    expect(text()).toContain('the reason')
    expect(text()).toContain('log.test.ts')
  })

  test('a circular object and a huge text cost one bounded line', () => {
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    const { log, lines } = capture()
    log.info({ circle, text: 'a'.repeat(1_000_000), list: Array.from({ length: 5000 }, (_, i) => i) }, 'x')
    expect(lines).toHaveLength(1)
    expect(lines[0]?.length).toBeLessThan(20_000)
  })

  test('for a person it is one line with the level, the sentence and the facts', () => {
    const { log, lines } = capture({ is_readable: true })
    log.warn({ order_id: 'ord_1', note: 'two words' }, 'the order waits')
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} WARN {2}the order waits order_id=ord_1 note="two words"\n$/,
    )
  })

  test('a text made to be slow to search costs little', () => {
    const { log } = capture()
    const texts = [
      'a-',
      'eyJ-',
      'password',
      '-----BEGIN PRIVATE KEY-----',
      '4',
      'token=',
      '":"',
      'Bearer ',
      '://a:',
    ]
    const started = performance.now()
    for (const text of texts) log.info({ text: text.repeat(8_192 / text.length) }, 'x')
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  test('lines below the level are not written', () => {
    const { log, lines } = capture({ level: 'warn' })
    log.info('quiet')
    log.error('loud')
    expect(lines).toHaveLength(1)
  })
})
