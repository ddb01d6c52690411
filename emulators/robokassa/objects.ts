import { createHash, createHmac, generateKeyPairSync, sign } from 'node:crypto'
import type { BaseSettings, Kit, Store } from '../emulator.ts'

export interface RobokassaSettings extends BaseSettings {
  merchant_login: string
  password1: string
  password2: string
  password3: string
  test_password1: string
  test_password2: string
  hash: 'md5' | 'sha256' | 'sha384' | 'sha512'
  fee_permille: number
  refund_outcome: 'finished' | 'processing' | 'canceled'
  receipt_code: 0 | 1 | 2 | 3 | 1000
  is_refund_api_enabled: boolean
  is_recurring_enabled: boolean
}

/** State codes of the vendor: 5 started, 10 canceled, 20 held, 60 refused, 100 paid. */
export type StateCode = 5 | 10 | 20 | 60 | 100

export interface Payment {
  /** The order number, unique per shop forever; the vendor's id. */
  id: string
  inv_id: string
  op_key: string
  /** Kopecks. */
  amount: number
  state: StateCode
  state_at: string
  is_test: boolean
  is_hold: boolean
  is_recurring: boolean
  description: string
  email: string
  result_url2: string
  success_url: string
  fail_url: string
  shp: Record<string, string>
  receipt?: unknown
  refunded: number
  expires_at?: string
  parent?: string
}

export interface Refund {
  id: string
  op_key: string
  amount: number
  label: 'finished' | 'processing' | 'canceled'
  items?: unknown
}

export interface SecondReceipt {
  id: string
  origin_id: string
  payload: Record<string, unknown>
}

/** Everything one running emulator holds. */
export interface World {
  kit: Kit<RobokassaSettings>
  payments: Store<Payment>
  refunds: Store<Refund>
  receipts: Store<SecondReceipt>
  key: () => { private_key: string; public_key: string }
}

/** A field of a form, whatever the case of its name. */
export type Form = Readonly<Record<string, string>>

/** Robokassa's error page: a number and a word. */
export class PageError extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** Makes the vendor's signing key once it is needed: it takes a while. */
export function lazyKey(): World['key'] {
  let pair: { private_key: string; public_key: string } | undefined
  return () => {
    if (pair) return pair
    const { privateKey, publicKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    })
    pair = { private_key: privateKey, public_key: publicKey }
    return pair
  }
}

/** `hash(a:b:…:password:Shp_x=y…)`; parts that are undefined take no place. */
export function hashOf(
  world: World,
  parts: readonly (string | undefined)[],
  shp: Readonly<Record<string, string>> = {},
): string {
  const own = Object.keys(shp)
    .sort((a, b) => a.toLowerCase().localeCompare(b.toLowerCase()))
    .map((name) => `${name}=${shp[name]}`)
  const base = [...parts.filter((part) => part !== undefined), ...own].join(':')
  return createHash(world.kit.settings().hash).update(base).digest('hex')
}

/** `Shp_…` fields as they were spelt. */
export function shpOf(form: Form): Record<string, string> {
  return Object.fromEntries(Object.entries(form).filter(([name]) => /^shp_/i.test(name)))
}

/** Kopecks of `599`, `599.0` or `599.00`; undefined for anything else. */
export function kopecks(text: string | undefined): number | undefined {
  const match = /^(\d{1,10})(?:\.(\d{1,2}))?$/.exec(text ?? '')
  return match ? Number(match[1]) * 100 + Number((match[2] ?? '').padEnd(2, '0')) : undefined
}

export function roubles(amount: number, digits = 2): string {
  return `${Math.floor(amount / 100)}.${String(amount % 100)
    .padStart(2, '0')
    .padEnd(digits, '0')}`
}

/** Changes a state and tells the merchant: a form on success, a JWS where the payment named an address. */
export function setState(world: World, payment: Payment, state: StateCode): void {
  payment.state = state
  payment.state_at = world.kit.now().toISOString()
  if (state === 100) tellResult(world, payment)
  if ((state === 100 || state === 20) && payment.result_url2 !== '' && !payment.is_test)
    tellState(world, payment)
}

/** ResultURL: the sum with six digits, signed with the second password of the payment's mode. */
export function resultForm(
  world: World,
  payment: Payment,
  changes: { amount?: number; inv_id?: string; password?: string; signature?: string } = {},
): string {
  const { password2, test_password2 } = world.kit.settings()
  const sum = roubles(changes.amount ?? payment.amount, 6)
  const inv_id = changes.inv_id ?? payment.inv_id
  const password = changes.password ?? (payment.is_test ? test_password2 : password2)
  const signature = changes.signature ?? hashOf(world, [sum, inv_id, password], payment.shp).toUpperCase()
  return new URLSearchParams({
    OutSum: sum,
    InvId: inv_id,
    ...payment.shp,
    SignatureValue: signature,
    Fee: roubles(feeOf(world, payment), 6),
    EMail: payment.is_test ? '' : payment.email,
    PaymentMethod: 'BankCard',
    IncCurrLabel: 'BankCard',
    ...(payment.is_test ? { IsTest: '1' } : {}),
  }).toString()
}

export function feeOf(world: World, payment: Payment): number {
  return Math.round((payment.amount * world.kit.settings().fee_permille) / 1000)
}

export const FORM_HEADERS = { 'content-type': 'application/x-www-form-urlencoded' }

function tellResult(world: World, payment: Payment): void {
  world.kit.notify({
    object_id: payment.id,
    event: 'ResultURL',
    headers: FORM_HEADERS,
    body: resultForm(world, payment),
  })
}

function tellState(world: World, payment: Payment): void {
  const header = { typ: 'JWT', alg: 'RS256' }
  const timestamp = String(Math.floor(world.kit.now().getTime() / 1000))
  const payload = {
    header: { type: 'PaymentStateNotification', version: '1.0.0', timestamp },
    data: {
      shop: world.kit.settings().merchant_login,
      opKey: payment.op_key,
      invId: payment.inv_id,
      paymentMethod: 'BankCard',
      incSum: roubles(payment.amount),
      state: payment.state === 20 ? 'HOLD' : 'OK',
    },
  }
  const head = `${encode(header)}.${encode(payload)}`
  const signature = sign('sha256', Buffer.from(head), world.key().private_key).toString('base64url')
  world.kit.notify({
    object_id: payment.id,
    event: 'ResultUrl2',
    url: payment.result_url2,
    headers: { 'content-type': 'application/json' },
    body: `${head}.${signature}`,
  })
}

/** The payload of a JWT signed with this key; undefined when it is not. */
export function openJwt(jwt: string, key: string): Record<string, unknown> | undefined {
  const [head = '', body = '', signature = ''] = jwt.split('.')
  try {
    const header = JSON.parse(Buffer.from(head, 'base64url').toString()) as { alg?: string }
    const hash = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' }[header.alg ?? '']
    if (hash === undefined) return undefined
    const expected = createHmac(hash, key).update(`${head}.${body}`).digest('base64url')
    if (expected !== signature) return undefined
    return JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>
  } catch {
    // Whatever cannot be read was not signed by the shop.
    return undefined
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
