import { createSign, generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Emulator } from '@kopilka/emulators/emulator'
import { startPaypalEmulator } from '@kopilka/emulators/paypal'
import { makeSigner, signerOf } from '@kopilka/emulators/paypal/certificate'
import { GatewayUnavailable } from '@kopilka/extension'
import type { GatewayContext, WebhookRequest } from '@kopilka/extension'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newContext, newId, outcomeOf } from '../../../../test/gateway-contract.ts'
import { startReceiver } from '../../../../test/gateway-contract/receiver.ts'
import type { Receiver } from '../../../../test/gateway-contract/receiver.ts'
import { PAYPAL_APP, purchase } from '../../../../test/paypal-lab.ts'
import vectors from '../../../../test/vectors/paypal.json' with { type: 'json' }
import paypal from './paypal.ts'
import { isSigned, isVendorsAddress, isVendorsName, messageOf, readTransmission } from './paypal/proof.ts'

let emulator: Emulator
let receiver: Receiver
let context: GatewayContext
beforeAll(async () => {
  receiver = await startReceiver('paypal')
  emulator = await startPaypalEmulator({
    settings: PAYPAL_APP,
    webhook_url: receiver.url,
    retry_scale: 0.001,
  })
  context = newContext()
})
afterEach(() => emulator.control.reset())
afterAll(async () => {
  await emulator?.close()
  await receiver?.close()
})

const configOf = (changes: object = {}) =>
  paypal.configSchema.parse({
    ...PAYPAL_APP,
    environment: 'sandbox',
    base_url: emulator.base_url,
    ...changes,
  })

async function approved(): Promise<{ external_id: string; payment_id: string; request: WebhookRequest }> {
  const input = purchase()
  const { external_id = '' } = await paypal.createPayment(configOf(), input, context)
  emulator.control.complete(external_id, 'succeeded')
  const request = await receiver.take(({ raw_body }) => raw_body.includes(external_id))
  return { external_id, payment_id: input.payment_id, request }
}

const parse = (request: WebhookRequest, changes: object = {}, at: GatewayContext = context) =>
  paypal.parseWebhook(configOf(changes), request, at)
const withHeader = (request: WebhookRequest, name: string, value: string): WebhookRequest => ({
  ...request,
  headers: { ...request.headers, [`paypal-${name}`]: value },
})
const fetches = () => {
  const { items } = emulator.control.log({ kind: 'request', limit: 1000 })
  return items.filter(({ path }) => path?.startsWith('/v1/notifications/certs/')).length
}

/** A body of our own making under the emulated vendor's signature. */
function signedByVendor(body: string): WebhookRequest {
  const { key } = signerOf('messageverificationcerts.sandbox.paypal.com')
  const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
  const message = `T-1|${time}|${PAYPAL_APP.webhook_id}|${crc32(body)}`
  return {
    method: 'POST',
    path: '/webhooks/payments/paypal',
    headers: {
      'paypal-transmission-id': 'T-1',
      'paypal-transmission-time': time,
      'paypal-transmission-sig': sign('RSA-SHA256', Buffer.from(message), key).toString('base64'),
      'paypal-cert-url': `${emulator.base_url}/v1/notifications/certs/CERT-EMULATOR-1`,
      'paypal-auth-algo': 'SHA256withRSA',
    },
    query: {},
    raw_body: Buffer.from(body),
    remote_address: '127.0.0.1',
  }
}

describe('the known transmission of PayPal', () => {
  const request: WebhookRequest = {
    method: 'POST',
    path: '/webhooks/payments/paypal',
    headers: vectors.headers,
    query: {},
    raw_body: Buffer.from(vectors.rawBody),
    remote_address: '127.0.0.1',
  }
  const transmission = readTransmission(request)
  const given = {
    raw_body: request.raw_body,
    webhook_id: vectors.webhookId,
    pem: vectors.certificatePem,
    now: new Date('2026-12-01T00:00:00Z'),
    isName: (name: string) => name === 'messageverificationcerts.paypal.test',
  }
  const proved = (changes: object = {}) =>
    transmission !== undefined && isSigned({ ...given, transmission, ...changes })

  it('has the checksum and the message that are signed', () => {
    expect(String(crc32(request.raw_body))).toBe(vectors.crc32_decimal)
    expect(String(crc32('123456789'))).toBe(vectors.crc32_check_value_123456789)
    const message = transmission && messageOf(transmission, vectors.webhookId, request.raw_body)
    expect(message).toBe(vectors.message)
  })

  it('is proved by its certificate, and by nothing that differs from it', () => {
    expect(proved()).toBe(true)
    expect(proved({ webhook_id: 'WEBHOOKID0' })).toBe(false)
    expect(proved({ raw_body: Buffer.from(`${vectors.rawBody} `) })).toBe(false)
    expect(proved({ now: new Date('2026-11-20T00:00:00Z') })).toBe(false)
    expect(proved({ now: new Date('2036-11-19T00:00:00Z') })).toBe(false)
    expect(proved({ isName: isVendorsName })).toBe(false)
    expect(proved({ pem: 'not a certificate' })).toBe(false)
    const sha1 = createSign('SHA1').update(vectors.message)
    const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const signature = sha1.sign(key).toString('base64')
    expect(proved({ transmission: { ...transmission, signature } })).toBe(false)
  })

  it.each(['messageverificationcerts.paypal.com', 'messageverificationcerts.sandbox.paypal.com'])(
    'may be signed by %s',
    (name) => expect(isVendorsName(name)).toBe(true),
  )

  it.each(['paypal.com.example.org', 'evilpaypal.com', 'messageverificationcerts.paypal.com.evil', ''])(
    'may not be signed by %s',
    (name) => expect(isVendorsName(name)).toBe(false),
  )
})

describe('the certificate of PayPal', () => {
  const name = 'messageverificationcerts.paypal.com'
  const body = '{"id":"WH-1"}'
  const now = new Date('2026-12-01T00:00:00Z')
  const time = '2026-12-01T00:00:00Z'
  const webhook_id = PAYPAL_APP.webhook_id
  /** Whether what this key signed is believed by this file of certificates. */
  const isBelieved = (key: KeyObject, pem: string): boolean => {
    const message = Buffer.from(messageOf({ id: 'T-1', time }, webhook_id, Buffer.from(body)))
    const signature = sign('RSA-SHA256', message, key).toString('base64')
    const transmission = { id: 'T-1', time, signature, algorithm: 'SHA256withRSA', certificate_url: '' }
    return isSigned({ transmission, raw_body: Buffer.from(body), webhook_id, pem, now })
  }
  const good = makeSigner(name)
  const other = makeSigner(name)

  it('proves alone, with its issuer, and with its issuer among others', () => {
    expect(isBelieved(good.key, good.certificate)).toBe(true)
    expect(isBelieved(good.key, good.pem)).toBe(true)
    expect(isBelieved(good.key, good.certificate + other.issuer + good.issuer)).toBe(true)
  })

  it('proves nothing beside an issuer of the same name that has not issued it', () => {
    expect(isBelieved(good.key, good.certificate + other.issuer)).toBe(false)
    expect(isBelieved(good.key, good.certificate + other.certificate)).toBe(false)
  })

  it('proves nothing when it says that another than the one beside it has issued it', () => {
    const misnamed = makeSigner(name, { issued_by: 'Somebody else' })
    expect(isBelieved(misnamed.key, misnamed.pem)).toBe(false)
  })

  it('proves nothing when it is over, or its issuer is', () => {
    for (const odd of [{ valid: 'long ago' }, { issuer_valid: 'long ago' }] as const) {
      const { key, pem } = makeSigner(name, odd)
      expect([odd, isBelieved(key, pem)]).toEqual([odd, false])
    }
  })

  it('proves nothing with a key that is too small to be safe', () => {
    const small = makeSigner(name, { key_bits: 1024 })
    expect(isBelieved(small.key, small.certificate)).toBe(false)
    expect(isBelieved(small.key, small.pem)).toBe(false)
  })

  it('proves only what its own key signed', () => {
    expect(isBelieved(other.key, good.pem)).toBe(false)
    // The vendor's file begins with the certificate that signs; the others only issue.
    expect(isBelieved(other.key, good.certificate + other.certificate)).toBe(false)
  })
})

describe('the place of PayPal’s certificates', () => {
  const live = paypal.configSchema.parse(PAYPAL_APP)
  const sandbox = paypal.configSchema.parse({ ...PAYPAL_APP, environment: 'sandbox' })
  const path = '/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270'

  it('is the vendor’s own address of the same mode', () => {
    expect(isVendorsAddress(live, `https://api.paypal.com${path}`)).toBe(true)
    expect(isVendorsAddress(live, `https://api-m.paypal.com${path}`)).toBe(true)
    expect(isVendorsAddress(sandbox, `https://api.sandbox.paypal.com${path}`)).toBe(true)
    expect(isVendorsAddress(live, `https://api.sandbox.paypal.com${path}`)).toBe(false)
    expect(isVendorsAddress(sandbox, `https://api.paypal.com${path}`)).toBe(false)
  })

  it.each([
    `http://api.paypal.com${path}`,
    `https://api.paypal.com.evil.example${path}`,
    `https://evilpaypal.com${path}`,
    `https://www.paypal.com${path}`,
    `https://api.paypal.com@evil.example${path}`,
    `https://user@api.paypal.com${path}`,
    `https://api.paypal.com:8443${path}`,
    `https://api.paypal.com:443${path}`,
    `https://API.paypal.com${path}`,
    `https://api.paypal.com.${path}`,
    `https://api.paypal.com${path}/../../../../evil`,
    `https://api.paypal.com${path}?redirect=https://evil.example`,
    `https://api.paypal.com${path}#x`,
    'https://api.paypal.com/v1/notifications/certs/',
    'https://api.paypal.com/evil/v1/notifications/certs/CERT-1',
    `//api.paypal.com${path}`,
    'file:///v1/notifications/certs/CERT-1',
    'http://127.0.0.1/v1/notifications/certs/CERT-1',
    '',
  ])('is not %s', (address) => {
    expect(isVendorsAddress(live, address)).toBe(false)
  })
})

describe('an event of PayPal', () => {
  it('is taken by its certificate, which is fetched once for many', async () => {
    const { request, external_id, payment_id } = await approved()
    context.cache.clear()
    const results = await Promise.all(Array.from({ length: 20 }, () => parse(request)))
    expect(results.every(({ verdict }) => verdict === 'accepted')).toBe(true)
    expect(fetches()).toBe(1)
    expect(results[0]).toMatchObject({
      events: [
        { trust: 'signed', type: 'CHECKOUT.ORDER.APPROVED', kind: 'payment', external_id, payment_id },
      ],
    })
  })

  it('is taken within the time the vendor repeats and resends, and not from the future', async () => {
    const { request } = await approved()
    const at = (days: number) => ({ ...context, now: new Date(Date.now() + days * 86_400_000) })
    for (const days of [-0.003, 0, 3, 30]) {
      expect([days, (await parse(request, {}, at(days))).verdict]).toEqual([days, 'accepted'])
    }
    for (const days of [-0.004, -1, 32, 400]) {
      expect([days, (await parse(request, {}, at(days))).verdict]).toEqual([days, 'refused'])
    }
  })

  it('under another webhook, algorithm, certificate or mode is refused', async () => {
    const { request } = await approved()
    const refused = { verdict: 'refused', status: 401 }
    expect(await parse(request, { webhook_id: '1JE4291016473214C' })).toMatchObject(refused)
    for (const algorithm of ['SHA1withRSA', 'sha256withrsa', 'none', 'SHA256withRSA ']) {
      expect(await parse(withHeader(request, 'auth-algo', algorithm))).toMatchObject(refused)
    }
    const other = `${emulator.base_url}/v1/notifications/certs/CERT-UNKNOWN`
    expect(await parse(withHeader(request, 'cert-url', other))).toMatchObject(refused)
    const stranger = `${emulator.base_url}/somewhere/else/CERT-EMULATOR-2`
    expect(await parse(withHeader(request, 'cert-url', stranger))).toMatchObject(refused)
    expect(await parse(request, { base_url: undefined })).toMatchObject(refused)
  })

  it('has one spelling of its signature', async () => {
    const { request } = await approved()
    const value = String(request.headers['paypal-transmission-sig'])
    expect(value).toMatch(/^[0-9A-Za-z+/]{342}==$/)
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
    const last = letters.indexOf(value.at(-3) ?? '')
    const half = value.slice(0, 171)
    const spellings = [
      // The last letter has four spare bits, which no decoder looks at.
      `${value.slice(0, -3)}${letters[last ^ 1]}==`,
      value.slice(0, -2),
      value.slice(0, -1),
      `${value}=`,
      `${half} ${value.slice(171)}`,
      `${half}\n${value.slice(171)}`,
      `${half}.${value.slice(171)}`,
      ` ${value}`,
      `${value}\t`,
      ...(/[+/]/.test(value) ? [value.replaceAll('+', '-').replaceAll('/', '_')] : []),
      Buffer.from(value, 'base64').toString('hex'),
    ]
    for (const spelling of spellings) {
      const told = await parse(withHeader(request, 'transmission-sig', spelling))
      expect([spelling, told]).toMatchObject([spelling, { verdict: 'refused', status: 401 }])
    }
    expect(await parse(request)).toMatchObject({ verdict: 'accepted' })
  })

  it('is not answered when the certificate cannot be had, so that the vendor repeats it', async () => {
    const { request } = await approved()
    context.cache.clear()
    emulator.control.faults({ error_500: 1, scope: 'reads' })
    expect((await outcomeOf(parse(request) as Promise<unknown>)).error).toBeInstanceOf(GatewayUnavailable)
    expect(await parse(request)).toMatchObject({ verdict: 'accepted' })
  })

  it('makes us look for a bounded number of certificates that do not exist', async () => {
    const { request } = await approved()
    await parse(request)
    const before = fetches()
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, turn) => {
        const url = `${emulator.base_url}/v1/notifications/certs/CERT-FAKE-${turn}`
        return outcomeOf(parse(withHeader(request, 'cert-url', url)) as Promise<{ verdict: string }>)
      }),
    )
    expect(outcomes.filter(({ value }) => value?.verdict === 'accepted')).toEqual([])
    expect(fetches() - before).toBeLessThanOrEqual(20)
    expect(await parse(request)).toMatchObject({ verdict: 'accepted' })
  })

  it('is none of the lies the emulator can tell', async () => {
    const { external_id, request } = await approved()
    emulator.control.faults({ forge: 9 })
    const known = receiver.requests.length
    const pages = await Promise.all(Array.from({ length: 9 }, () => approved()))
    emulator.control.forge(external_id)
    await emulator.control.settled()
    const came = receiver.requests.slice(known)
    const results = await Promise.all(
      came.map((one) => outcomeOf(parse(one) as Promise<{ verdict: string }>)),
    )
    const accepted = came.filter((_one, index) => results[index]?.value?.verdict === 'accepted')
    expect(came).toHaveLength(9 + 9 + 6)
    expect(accepted).toHaveLength(pages.length)
    expect(await parse(request)).toMatchObject({ verdict: 'accepted' })
  })
})

describe('an event of PayPal that the vendor is asked about', () => {
  const postback = { verification: 'postback' }

  it('is taken on its word, with the body as it came', async () => {
    const { request } = await approved()
    expect(await parse(request, postback)).toMatchObject({ verdict: 'accepted' })
    const spaced = Buffer.from(request.raw_body.toString().replace('{', '{ '))
    const told = await parse({ ...request, raw_body: spaced }, postback)
    expect(told).toMatchObject({ verdict: 'refused', status: 401 })
    const other = { ...postback, webhook_id: '1JE4291016473214C' }
    expect(await parse(request, other)).toMatchObject({ verdict: 'refused' })
  })

  it('is neither taken nor refused while the vendor does not answer', async () => {
    const { request } = await approved()
    for (const fault of [{ error_500: 1 }, { html_body: 2 }, { error_429: 1 }]) {
      emulator.control.faults({ ...fault, scope: 'reads' })
      const { error } = await outcomeOf(parse(request, postback) as Promise<unknown>)
      expect(error).toBeInstanceOf(GatewayUnavailable)
      emulator.control.faults({ error_500: 0, html_body: 0, error_429: 0 })
    }
    expect(await parse(request, postback)).toMatchObject({ verdict: 'accepted' })
  })
})

describe('what an event of PayPal says', () => {
  const payment_id = newId('pay')
  const refund_id = newId('re')
  const related = (ids: object) => ({ supplementary_data: { related_ids: ids } })
  const tell = (event_type: string, resource: object) => {
    return parse(signedByVendor(JSON.stringify({ id: 'WH-1', event_type, resource })))
  }
  const eventOf = async (event_type: string, resource: object) => {
    const result = await tell(event_type, resource)
    return result.verdict === 'accepted' ? result.events : result
  }

  /** As the older API tells it: with a sign, and a total. */
  const saleRefund = { id: 'R1', state: 'completed', amount: { total: '-4.00', currency: 'USD' } }
  const backOf = (refund: object) => ({
    kind: 'refund',
    payment_external_id: 'S1',
    refund: {
      payment_external_id: 'S1',
      status: 'succeeded',
      amount: 400n,
      currency: 'USD',
      is_test: true,
      ...refund,
    },
    charge_of: {},
  })

  it.each([
    [
      'PAYMENT.CAPTURE.COMPLETED',
      { id: 'C1', custom_id: payment_id, ...related({ order_id: 'O1' }) },
      { kind: 'payment', external_id: 'O1', payment_id },
    ],
    ['PAYMENT.CAPTURE.DENIED', { id: 'C1', custom_id: payment_id }, { kind: 'payment', payment_id }],
    [
      'PAYMENT.AUTHORIZATION.VOIDED',
      { id: 'A1', ...related({ order_id: 'O1' }) },
      { kind: 'payment', external_id: 'O1' },
    ],
    ['CHECKOUT.PAYMENT-APPROVAL.REVERSED', { order_id: 'O1' }, { kind: 'payment', external_id: 'O1' }],
    [
      'PAYMENT.CAPTURE.REFUNDED',
      { id: 'R1', custom_id: refund_id },
      { kind: 'refund', external_id: 'R1', refund_id },
    ],
    ['PAYMENT.REFUND.FAILED', { id: 'R1' }, { kind: 'refund', external_id: 'R1' }],
    [
      'BILLING.SUBSCRIPTION.CANCELLED',
      { id: 'I-1', status: 'CANCELLED' },
      { kind: 'subscription', external_id: 'I-1' },
    ],
    [
      'PAYMENT.SALE.COMPLETED',
      { id: 'S1', billing_agreement_id: 'I-1', amount: { total: '10.00', currency: 'USD' } },
      { kind: 'subscription', external_id: 'I-1', charge_external_id: 'S1', data: { id: 'S1' } },
    ],
    ['PAYMENT.SALE.REFUNDED', { ...saleRefund, sale_id: 'S1' }, backOf({ external_id: 'R1' })],
    [
      'PAYMENT.SALE.REFUNDED',
      { ...saleRefund, links: [{ rel: 'sale', href: 'https://api.paypal.com/v1/payments/sale/S1' }] },
      backOf({ external_id: 'R1' }),
    ],
    [
      'PAYMENT.SALE.REFUNDED',
      { ...saleRefund, sale_id: 'S1', state: 'failed' },
      backOf({ status: 'failed' }),
    ],
    [
      'PAYMENT.SALE.REFUNDED',
      { ...saleRefund, id: 'S1', state: 'refunded', billing_agreement_id: 'I-1' },
      {
        ...backOf({ external_id: 'refund:S1' }),
        charge_of: { subscription_external_id: 'I-1' },
      },
    ],
    [
      'PAYMENT.SALE.REVERSED',
      { ...saleRefund, sale_id: 'S1' },
      {
        kind: 'dispute',
        dispute: { payment_external_id: 'S1', status: 'lost', amount: 400n, currency: 'USD' },
        charge_of: {},
      },
    ],
    ['VAULT.PAYMENT-TOKEN.DELETED', { id: '8kk845' }, { kind: 'method_removed', external_id: '8kk845' }],
    [
      'VAULT.PAYMENT-TOKEN.CREATED',
      { id: '8kk845', metadata: { order_id: 'O1' } },
      { kind: 'payment', external_id: 'O1' },
    ],
  ])('%s is about that', async (type, resource, event) => {
    expect(await eventOf(type, resource)).toMatchObject([
      { external_event_id: 'WH-1', trust: 'signed', type, ...event },
    ])
  })

  it.each([
    ['PAYMENT.CAPTURE.COMPLETED', { id: 'C1', custom_id: 'their-own' }],
    ['CHECKOUT.ORDER.APPROVED', { id: 'O1', purchase_units: [{ custom_id: 'their-own' }] }],
    ['PAYMENT.SALE.COMPLETED', { id: 'S1' }],
    ['PAYMENT.SALE.REFUNDED', { id: 'R1', state: 'completed', amount: { total: 'x', currency: 'USD' } }],
    ['VAULT.PAYMENT-TOKEN.DELETED', {}],
    ['INVOICING.INVOICE.PAID', { id: 'INV2' }],
    ['CUSTOMER.DISPUTE.CREATED', { dispute_id: 'PP-D-1' }],
  ])('%s of %j is none of ours', async (type, resource) => {
    expect(await eventOf(type, resource)).toEqual([])
  })

  const dispute = (status: string, outcome_code?: string) => ({
    dispute_id: 'PP-D-1',
    disputed_transactions: [{ seller_transaction_id: 'C1' }],
    reason: 'UNAUTHORISED',
    status,
    dispute_amount: { currency_code: 'USD', value: '10.00' },
    ...(outcome_code ? { dispute_outcome: { outcome_code } } : {}),
  })

  it.each([
    ['OPEN', undefined, 'open'],
    ['UNDER_REVIEW', undefined, 'open'],
    ['RESOLVED', 'RESOLVED_BUYER_FAVOUR', 'lost'],
    ['RESOLVED', 'RESOLVED_SELLER_FAVOUR', 'won'],
    ['RESOLVED', 'RESOLVED_WITH_PAYOUT', 'won'],
    ['RESOLVED', 'CANCELED_BY_BUYER', 'won'],
    ['RESOLVED', 'NONE', 'open'],
    ['RESOLVED', 'SOMETHING_NEW', 'open'],
    ['SOMETHING_NEW', 'RESOLVED_BUYER_FAVOUR', 'open'],
  ])('a dispute that is %s with %s is %s', async (status, outcome, told) => {
    const events = await eventOf('CUSTOMER.DISPUTE.UPDATED', dispute(status, outcome))
    const expected = { external_id: 'contest:C1', payment_external_id: 'C1', status: told, amount: 1000n }
    expect(events).toMatchObject([
      { kind: 'dispute', dispute: { ...expected, currency: 'USD', is_test: true } },
    ])
  })

  it('a reversal is the same contest, lost, whatever sign its amount has', async () => {
    for (const value of ['10.00', '-10.00']) {
      const links = [{ rel: 'up', href: 'https://api.paypal.com/v2/payments/captures/C1' }]
      const resource = { id: 'R9', amount: { currency_code: 'USD', value }, links }
      const expected = { external_id: 'contest:C1', status: 'lost', amount: 1000n }
      expect(await eventOf('PAYMENT.CAPTURE.REVERSED', resource)).toMatchObject([{ dispute: expected }])
    }
  })
})
