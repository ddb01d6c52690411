import assert from 'node:assert/strict'
import { createHash, createHmac, verify } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import type { WebhookRequest, WebhookResult } from '@kopilka/extension'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import cryptoPay from '../src/modules/payments/gateways/crypto-pay.ts'
import paddle from '../src/modules/payments/gateways/paddle.ts'
import paypal from '../src/modules/payments/gateways/paypal.ts'
import {
  isSigned,
  isVendorsAddress,
  messageOf,
  readTransmission,
} from '../src/modules/payments/gateways/paypal/proof.ts'
import robokassa from '../src/modules/payments/gateways/robokassa.ts'
import {
  openJws,
  signatureOf,
  signJwt,
  signReceipt,
} from '../src/modules/payments/gateways/robokassa/sign.ts'
import { signAuth } from '../src/modules/payments/gateways/rustore/api.ts'
import { decrypt } from '../src/modules/payments/gateways/rustore/webhook.ts'
import stripe from '../src/modules/payments/gateways/stripe.ts'
import yookassa from '../src/modules/payments/gateways/yookassa.ts'
import { createInput, newContext, newId } from './gateway-contract.ts'
import { startReceiver, type Receiver } from './gateway-contract/receiver.ts'
import { repositoryFiles } from './repository-files.ts'
import cryptoPayVectors from './vectors/crypto-pay.json' with { type: 'json' }
import paddleVectors from './vectors/paddle.json' with { type: 'json' }
import paypalVectors from './vectors/paypal.json' with { type: 'json' }
import robokassaVectors from './vectors/robokassa.json' with { type: 'json' }
import rustoreVectors from './vectors/rustore.json' with { type: 'json' }
import stripeVectors from './vectors/stripe.json' with { type: 'json' }
import yookassaVectors from './vectors/yookassa.json' with { type: 'json' }
import { unnoticed } from './vectors.ts'

/**
 * The examples of signatures, keys and messages that were computed apart from this code. Each value is
 * altered in turn, and the check that reads it must notice: what nobody notices no test reads.
 */

const HASHES = ['md5', 'sha256', 'sha512'] as const
let receiver: Receiver
beforeAll(async () => {
  receiver = await startReceiver('vectors')
})
afterAll(() => receiver?.close())

const context = (now = new Date()) => ({ ...newContext(), now })

function post(body: string, headers: Readonly<Record<string, string>> = {}): WebhookRequest {
  return {
    method: 'POST',
    path: '/webhooks/payments/vectors',
    headers,
    query: {},
    raw_body: Buffer.from(body),
    remote_address: '127.0.0.1',
  }
}

function isAccepted(result: WebhookResult): boolean {
  return result.verdict === 'accepted'
}

async function checkYookassa({ basic_auth, addresses }: typeof yookassaVectors): Promise<void> {
  const { shop_id, secret_key, header } = basic_auth
  const settings = { shop_id: '123456', secret_key: 'test_vectors-0123456789_abcdefghijk' }
  const config = yookassa.configSchema.parse(settings)
  const base_url = new URL('/v3', receiver.url).href
  // The secret of the example is shorter than an owner's may be.
  await yookassa.checkHealth?.({ ...config, shop_id, secret_key, base_url }, context())
  assert.equal(receiver.requests.at(-1)?.headers['authorization'], header)
  const networks = new BlockList()
  for (const range of addresses.ranges) {
    const [network = '', bits] = range.split('/')
    networks.addSubnet(network, Number(bits), isIP(network) === 6 ? 'ipv6' : 'ipv4')
    assert.ok(await isTaken(network), range)
  }
  for (const address of addresses.inside) assert.ok(await isTaken(address), address)
  for (const address of addresses.outside) assert.ok(isIP(address) > 0 && !(await isTaken(address)), address)
  for (const address of [...addresses.inside, ...addresses.outside]) {
    const plain = address.replace('::ffff:', '')
    assert.equal(networks.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4'), await isTaken(address))
  }
  async function isTaken(remote_address: string): Promise<boolean> {
    const request = post('{"type":"notification","event":"payout.succeeded","object":{"id":"po-1"}}')
    return isAccepted(await yookassa.parseWebhook(config, { ...request, remote_address }, context()))
  }
}

type RobokassaVectors = typeof robokassaVectors
type Sums = Record<(typeof HASHES)[number], string> & { base: string }

/** `parts` with the password among them, and our own fields. */
function checkSums(vector: Sums, parts: string[], secret: string, shp: Record<string, string> = {}): void {
  const own = Object.entries(shp).map(([name, value]) => `${name}=${value}`)
  assert.equal([...parts, secret, ...own.toSorted()].join(':'), vector.base)
  for (const hash of HASHES) assert.equal(signatureOf(hash, parts, secret, shp), vector[hash], hash)
}

function checkRobokassaSums(all: RobokassaVectors): void {
  const { login, p1, p2 } = all.credentials
  const { MerchantLogin, OutSum, InvId } = all.payment_simple.params
  assert.equal(MerchantLogin, login)
  checkSums(all.payment_simple, [MerchantLogin, OutSum, InvId], p1)
  checkSums(all.payment_no_invid, [login, OutSum, ''], p1)
  checkSums(all.payment_shp, [login, OutSum, InvId], p1, all.payment_shp.params)
  const { receipt_encoded_once } = all.payment_receipt
  checkSums(all.payment_receipt, [login, OutSum, InvId, receipt_encoded_once], p1, { Shp_user: '42' })
  const { SuccessUrl2, SuccessUrl2Method } = all.payment_success_url2.params
  checkSums(all.payment_success_url2, [login, OutSum, InvId, SuccessUrl2, SuccessUrl2Method], p1)
  const { StepByStep, ResultUrl2 } = all.hold_init.params
  checkSums(all.hold_init, [login, OutSum, InvId, StepByStep, ResultUrl2], p1)
  checkSums(all.hold_confirm, [login, OutSum, InvId], p1)
  checkSums(all.hold_cancel, [login, '', InvId], p1)
  const child = all.recurring_child.params
  checkSums(all.recurring_child, [login, child.OutSum, child.InvoiceID], p1)
  assert.equal(child.PreviousInvoiceID, InvId)
  const { OutSum: sum, InvId: number, ...shp } = all.result_url.params
  checkSums(all.result_url, [sum, number], p2, shp)
  const { OutSum: bare_sum, InvId: bare_number } = all.result_url_no_shp.params
  checkSums(all.result_url_no_shp, [bare_sum, bare_number], p2)
  checkSums(all.success_url, [all.success_url.params.OutSum, all.success_url.params.InvId], p1)
  checkSums(all.op_state, [login, InvId], p2)
}

function robokassaConfig({ credentials: { login, p1, p2, p3 } }: RobokassaVectors) {
  const long = 'x'.repeat(16)
  const settings = { merchant_login: 'demo_shop', password1: long, password2: long, tax_system: 2 }
  // The passwords of the examples are shorter than an owner's may be.
  const config = robokassa.configSchema.parse({ ...settings, pay_url: 'http://127.0.0.1:9/Merchant' })
  return { ...config, merchant_login: login, password1: p1, password2: p2, password3: p3 }
}

/** What the vendor sends when a payment was made, and the answer it waits for. */
async function checkResultUrl(all: RobokassaVectors): Promise<void> {
  for (const { params, sha256, responseBody } of [all.result_url, all.result_url_no_shp]) {
    const body = new URLSearchParams({ ...params, SignatureValue: sha256 }).toString()
    const result = await robokassa.parseWebhook(robokassaConfig(all), post(body), context())
    assert.equal(result.verdict, 'accepted')
    assert.equal(result.verdict === 'accepted' && result.answer?.body, responseBody)
  }
}

/** A receipt in an address: encoded for the signature, and once more for the address. */
async function checkReceiptInAddress(all: RobokassaVectors): Promise<void> {
  const {
    receipt_json,
    receipt_encoded_once,
    receipt_in_GET_query_encoded_twice: twice,
  } = all.payment_receipt
  assert.equal(encodeURIComponent(receipt_json), receipt_encoded_once)
  const line = { quantity: 1, unit_amount: 59_900n, vat: 'none', payment_subject: 'service' } as const
  const receipt = {
    contact: { email: 'buyer@example.com' },
    items: [{ ...line, description: 'Подписка 1 мес.', payment_mode: 'full_payment' }],
  }
  const fixture = { input: { receipt } } as unknown as Parameters<typeof createInput>[0]
  const payment = { payment_id: newId('pay'), payment_number: 1001, order_id: newId('ord') }
  const input = createInput(fixture, { ...payment, amount: 59_900n, currency: 'RUB' })
  const { checkout_url = '' } = await robokassa.createPayment(robokassaConfig(all), input, context())
  assert.ok(checkout_url.includes(`Receipt=${twice}&`) || checkout_url.endsWith(`Receipt=${twice}`))
}

function checkRobokassaTokens({ credentials, ...all }: RobokassaVectors): void {
  const { login, p1, p3 } = credentials
  const { header: md5_header, payload, key, jwt } = all.invoice_jwt
  assert.equal(key, `${login}:${p1}`)
  assert.equal(signJwt(md5_header as { alg: 'MD5'; typ: 'JWT' }, payload, key), jwt)
  const refund = all.refund_jwt
  assert.equal(refund.key, 'Password#3')
  assert.equal(signJwt(refund.header as { alg: 'HS256'; typ: 'JWT' }, refund.payload, p3), refund.jwt)
  const { variant_A_official_sdk, payload: receipt } = all.second_receipt
  assert.equal(signReceipt('md5', receipt, p1), variant_A_official_sdk.body)
  const { jws, certificatePem, payload: notification } = all.result_url2_jws
  assert.deepEqual(openJws(jws, certificatePem), notification)
}

async function checkRobokassa(all: RobokassaVectors): Promise<void> {
  checkRobokassaSums(all)
  checkRobokassaTokens(all)
  await checkResultUrl(all)
  await checkReceiptInAddress(all)
}

function checkRustore({ auth, notification }: typeof rustoreVectors): void {
  const { keyId: key_id, privateKeyPkcs8DerBase64_testOnly: private_key, timestamp, signature } = auth
  assert.equal(signAuth({ key_id, private_key }, timestamp), signature)
  assert.equal(Buffer.from(private_key, 'base64').toString('base64'), private_key)
  assert.equal(key_id + timestamp, auth.message)
  const proof = Buffer.from(signature, 'base64')
  assert.ok(verify('RSA-SHA512', Buffer.from(auth.message), auth.publicKeyPem, proof))
  const { aesKeyBase64: notification_key, ivHex, invoice, subscription, test } = notification
  for (const { plaintext, body } of [invoice, subscription, test]) {
    assert.equal(decrypt({ notification_key }, body.payload), plaintext)
    assert.equal(Buffer.from(body.payload, 'base64').subarray(0, 12).toString('hex'), ivHex)
  }
}

async function checkStripe(all: typeof stripeVectors): Promise<void> {
  const { secret, timestamp, rawBody, v1, header, header_rotated, signedPayload } = all
  assert.equal(`${timestamp}.${rawBody}`, signedPayload)
  const zeros = '0'.repeat(64)
  assert.equal(header, `t=${timestamp},v1=${v1}`)
  assert.equal(header_rotated, `t=${timestamp},v1=${zeros},v1=${v1},v0=${'1'.repeat(64)}`)
  const keys = { secret_key: 'sk_test_vectors0123456789', webhook_secret: 'whsec_vectors0123456789' }
  const config = { ...stripe.configSchema.parse(keys), webhook_secret: secret }
  for (const value of [header, header_rotated]) {
    const request = post(rawBody, { 'stripe-signature': value })
    assert.ok(isAccepted(await stripe.parseWebhook(config, request, context(new Date(timestamp * 1000)))))
  }
}

async function checkPaddle(all: typeof paddleVectors): Promise<void> {
  const { secret, ts, rawBody, h1, header, header_rotated, signedPayload } = all
  assert.equal(`${ts}:${rawBody}`, signedPayload)
  assert.equal(header, `ts=${ts};h1=${h1}`)
  assert.equal(header_rotated, `ts=${ts};h1=${'0'.repeat(64)};h1=${h1}`)
  const keys = {
    api_key: 'pdl_sdbx_apikey_vectors0123456789',
    webhook_secret: 'pdl_ntfset_vectors0123456789',
  }
  const config = { ...paddle.configSchema.parse(keys), webhook_secret: secret }
  for (const value of [header, header_rotated]) {
    const request = post(rawBody, { 'paddle-signature': value })
    assert.ok(isAccepted(await paddle.parseWebhook(config, request, context(new Date(ts * 1000)))))
  }
}

async function checkCryptoPay(all: typeof cryptoPayVectors): Promise<void> {
  const { token_fake: token, rawBody, header, secretHex } = all
  const key = createHash('sha256').update(token).digest()
  assert.equal(key.toString('hex'), secretHex)
  const signature = header['crypto-pay-api-signature']
  assert.equal(createHmac('sha256', key).update(rawBody).digest('hex'), signature)
  const config = { ...cryptoPay.configSchema.parse({ token: `1:${'A'.repeat(40)}` }), token }
  const now = new Date('2026-08-01T10:00:00.000Z')
  assert.ok(isAccepted(await cryptoPay.parseWebhook(config, post(rawBody, header), context(now))))
}

function checkPaypal(all: typeof paypalVectors): void {
  const raw_body = Buffer.from(all.rawBody)
  const transmission = readTransmission(post(all.rawBody, all.headers))
  assert.ok(transmission)
  assert.equal(String(crc32(raw_body)), all.crc32_decimal)
  assert.equal(String(crc32('123456789')), all.crc32_check_value_123456789)
  assert.equal(messageOf(transmission, all.webhookId, raw_body), all.message)
  const config = paypal.configSchema.parse({
    client_id: 'AvectorsClient0123456789',
    client_secret: 'EvectorsSecret0123456789',
    webhook_id: 'WEBHOOK0123456789',
  })
  assert.ok(isVendorsAddress(config, transmission.certificate_url))
  const { certificatePem: pem, webhookId: webhook_id } = all
  const now = new Date('2026-12-01T00:00:00Z')
  const isName = (name: string): boolean => name === 'messageverificationcerts.paypal.test'
  assert.ok(isSigned({ transmission, raw_body, webhook_id, pem, now, isName }))
}

/** The envelope of a notification is neither encrypted nor read. */
const ENVELOPES = ['invoice', 'subscription', 'test'].flatMap((name) => [
  `notification.${name}.body.id`,
  `notification.${name}.body.timestamp`,
])

describe('every value of the known examples is noticed when it is another', () => {
  it('of YooKassa', async () => {
    expect(await unnoticed(yookassaVectors, checkYookassa)).toEqual([])
  })
  it('of Robokassa', async () => {
    expect(await unnoticed(robokassaVectors, checkRobokassa)).toEqual([])
  })
  it('of RuStore, but for the envelope, which nothing proves and nobody reads', async () => {
    expect(await unnoticed(rustoreVectors, checkRustore)).toEqual(ENVELOPES)
  })
  it('of Stripe', async () => {
    expect(await unnoticed(stripeVectors, checkStripe)).toEqual([])
  })
  it('of PayPal', async () => {
    expect(await unnoticed(paypalVectors, checkPaypal)).toEqual([])
  })
  it('of Paddle', async () => {
    expect(await unnoticed(paddleVectors, checkPaddle)).toEqual([])
  })
  it('of Crypto Pay', async () => {
    expect(await unnoticed(cryptoPayVectors, checkCryptoPay)).toEqual([])
  })

  it('of whatever file of examples there is', () => {
    const files = readdirSync(path.join(import.meta.dirname, 'vectors'))
    const sources = repositoryFiles().filter(({ path: name }) => name.endsWith('.test.ts'))
    const read = sources.filter(({ text }) => text.includes('await unnoticed('))
    expect(files.length).toBeGreaterThanOrEqual(8)
    expect(files.filter((file) => !read.some(({ text }) => text.includes(`vectors/${file}`)))).toEqual([])
  })
})
