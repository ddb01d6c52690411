import type { WebhookRequest, WebhookResult } from '@kopilka/extension'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { GatewayFixture, Lab, Proof } from './fixture.ts'
import { foreignNotifications } from './foreign-notifications.ts'
import { expectNoSecret } from './leaks.ts'

const MiB = 1_048_576
/** How often random bytes are thrown at a gateway. */
const RUNS = 2000
/** At most so many positions of a body are altered, evenly spread. */
const POSITIONS_MAX = 400

/**
 * What must hold of notifications: the real one is taken, nothing else is believed, nothing makes it throw.
 */
export function checkWebhooks<Config>(fixture: GatewayFixture<Config>, lab: () => Lab<Config>): void {
  let real: Promise<WebhookRequest> | undefined
  const realOne = () => (real ??= fixture.realWebhook(lab()))
  const parse = async (request: WebhookRequest, now = new Date()): Promise<WebhookResult> => {
    const result = await lab().gateway.parseWebhook(lab().config, request, { ...lab().context, now })
    expectNoSecret(result, lab().secrets)
    return result
  }

  it(`takes a real notification as ${fixture.trust}, and its repeat under the same event id`, async () => {
    const first = await parse(await realOne())
    expect(first).toMatchObject({ verdict: 'accepted' })
    const [event] = eventsOf(first)
    expect(event).toMatchObject({
      trust: fixture.trust,
      external_event_id: expect.stringMatching(/^\S{1,200}$/),
    })
    expect(eventsOf(await parse(await realOne()))).toEqual(eventsOf(first))
  })

  it('believes no body that is empty, huge, not JSON, cut, doubled or begins with a mark', async () => {
    const request = await realOne()
    const { raw_body } = request
    const bodies = [
      Buffer.alloc(0),
      Buffer.from('null'),
      Buffer.from('[]'),
      Buffer.from('{}'),
      Buffer.from('"x"'),
      Buffer.from('<html><body>hello</body></html>'),
      Buffer.alloc(8 * MiB, 0x20),
      Buffer.concat([raw_body, Buffer.alloc(2 * MiB, 0x20)]),
      Buffer.from('['.repeat(100_000)),
      raw_body.subarray(0, raw_body.length - 1),
      raw_body.subarray(1),
      Buffer.concat([raw_body, raw_body]),
      Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), raw_body]),
      Buffer.from(raw_body.toString('latin1'), 'utf16le'),
      Buffer.from('{"__proto__":{"verdict":"accepted"}}'),
    ]
    for (const [index, body] of bodies.entries()) {
      const altered = { ...request, raw_body: body }
      if (fixture.proof?.covers?.(altered) === false) continue
      expect([index, await parse(altered)]).toMatchObject([index, { verdict: 'refused' }])
    }
  })

  it("believes no other vendor's notification, whoever signed it", async () => {
    const { path, remote_address } = await realOne()
    for (const { from, request } of foreignNotifications(path, remote_address)) {
      const result = await parse(request)
      expect([from, isBelieved(result)]).toEqual([from, false])
    }
  })

  it(`throws at none of ${RUNS} random bodies and headers, and believes none`, async () => {
    const request = await realOne()
    const names = Object.keys(request.headers)
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
      mutationsOf(request.raw_body),
    )
    const value = fc.oneof(fc.string(), fc.array(fc.string(), { maxLength: 3 }), fc.constant(undefined))
    const headers = fc.dictionary(fc.constantFrom(...names), value)
    const property = fc.asyncProperty(bodies, headers, async (raw_body, changed) => {
      const altered = { ...request, raw_body, headers: { ...request.headers, ...changed } }
      const is_same = raw_body.equals(request.raw_body) || fixture.proof?.covers?.(altered) === false
      expect(isBelieved(await parse(altered)) && !is_same).toBe(false)
    })
    await fc.assert(property, { numRuns: RUNS })
  })

  if (fixture.proof) checkProof(fixture.proof, { realOne, parse })
  else checkHints({ realOne, parse })
  checkMoments(fixture, lab, { realOne, parse })
}

interface Hands {
  realOne: () => Promise<WebhookRequest>
  parse: (request: WebhookRequest, now?: Date) => Promise<WebhookResult>
}

function checkProof(proof: Proof, { realOne, parse }: Hands): void {
  it('refuses a proof that is missing, empty, wrong, cut, longer, of other case, or came twice', async () => {
    const request = await realOne()
    const value = proof.read(request) ?? ''
    expect(value).not.toBe('')
    const digit = value.at(-1) === '0' ? '1' : '0'
    const wrong = [
      undefined,
      '',
      ' ',
      value.slice(0, -1),
      value.slice(1),
      value.slice(0, -1) + digit,
      `${value}0`,
      `${value},${value}`,
      `${value} `,
      value.replace(/[0-9a-f]{8}/i, '00000000'),
      'undefined',
      [value, value],
      [],
      ...(proof.may_change_case ? [] : [swapCase(value)]),
    ]
    for (const other of wrong) {
      if (other === value) continue
      expect([other, await parse(proof.write(request, other))]).toMatchObject([other, { verdict: 'refused' }])
    }
  })

  it('refuses a body in which any one byte was altered', async () => {
    const request = await realOne()
    const step = Math.max(1, Math.floor(request.raw_body.length / POSITIONS_MAX))
    for (let position = 0; position < request.raw_body.length; position += step) {
      const raw_body = Buffer.from(request.raw_body)
      raw_body[position] = (raw_body[position] ?? 0) ^ (1 + (position % 255))
      const altered = { ...request, raw_body }
      if (proof.covers?.(altered) === false) continue
      expect([position, isBelieved(await parse(altered))]).toEqual([position, false])
    }
  })
}

function checkHints({ realOne, parse }: Hands): void {
  it('gives at most a hint for a body in which any one byte was altered: no amount, no status', async () => {
    const request = await realOne()
    const step = Math.max(1, Math.floor(request.raw_body.length / POSITIONS_MAX))
    for (let position = 0; position < request.raw_body.length; position += step) {
      const raw_body = Buffer.from(request.raw_body)
      raw_body[position] = (raw_body[position] ?? 0) ^ (1 + (position % 255))
      expect([position, isBelieved(await parse({ ...request, raw_body }))]).toEqual([position, false])
    }
  })
}

function checkMoments<Config>(
  fixture: GatewayFixture<Config>,
  lab: () => Lab<Config>,
  { realOne, parse }: Hands,
) {
  const { resign, undated } = fixture
  if (undated !== undefined) checkUndated(undated, { realOne, parse })
  if (!resign) return

  it.each([-299, 0, 299])('takes a notification signed %i s from now', async (seconds) => {
    const now = new Date()
    const request = resign(await realOne(), lab().stand.settings, new Date(now.getTime() + seconds * 1000))
    expect(await parse(request, now)).toMatchObject({ verdict: 'accepted' })
  })

  it.each([-86_400, -302, 302, 86_400, 1e9])(
    'refuses a notification signed %i s from now',
    async (seconds) => {
      const now = new Date()
      const request = resign(await realOne(), lab().stand.settings, new Date(now.getTime() + seconds * 1000))
      expect(await parse(request, now)).toMatchObject({ verdict: 'refused' })
    },
  )
}

/** Nothing tells an old notification from a new one: then one that is replayed must be the same event. */
function checkUndated(why: string, { realOne, parse }: Hands): void {
  it.each([0, 1, 30])(`says the same under the same id %i days later, for ${why}`, async (days) => {
    const request = await realOne()
    const first = await parse(request)
    const later = await parse(request, new Date(Date.now() + days * 86_400_000))
    expect(later).toMatchObject({ verdict: 'accepted' })
    const idsOf = (result: WebhookResult) => eventsOf(result).map((event) => event.external_event_id)
    expect(idsOf(later)).toEqual(idsOf(first))
    expect(eventsOf(later)).toEqual(eventsOf(first))
  })
}

function eventsOf(result: WebhookResult) {
  return result.verdict === 'accepted' ? result.events : []
}

/** True when the core would act on what stands in the notification, instead of asking the vendor. */
function isBelieved(result: WebhookResult): boolean {
  return eventsOf(result).some((event) => {
    if (event.trust === 'signed') return true
    return (
      ('payment' in event && event.payment !== undefined) || ('refund' in event && event.refund !== undefined)
    )
  })
}

/** The real body with a few bytes replaced. */
function mutationsOf(body: Buffer): fc.Arbitrary<Buffer> {
  const change = fc.record({ at: fc.nat(Math.max(0, body.length - 1)), byte: fc.nat(255) })
  return fc.array(change, { minLength: 1, maxLength: 8 }).map((changes) => {
    const mutated = Buffer.from(body)
    for (const { at, byte } of changes) mutated[at] = byte
    return mutated
  })
}

function swapCase(text: string): string {
  return text.replace(/[a-z]/gi, (letter) =>
    letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
  )
}
