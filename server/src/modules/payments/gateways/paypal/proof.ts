import { X509Certificate, createHash, verify } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { GatewayUnavailable, callVendor, readAnswer, singleHeader } from '@kopilka/extension'
import type { GatewayContext, WebhookRequest } from '@kopilka/extension'
import { z } from 'zod'
import { callApi } from './api.ts'
import { certificateOrigins } from './config.ts'
import type { Config } from './config.ts'

const CERTIFICATE_PATH = /^\/v1\/notifications\/certs\/[0-9A-Za-z_-]{1,100}$/
const CERTIFICATE_LIFE_MS = 86_400_000
const CERTIFICATES_MAX = 10
const CERTIFICATE_MAX_BYTES = 65_536
/** A vendor's repeat waits minutes: better no answer soon than a long one. */
const FETCH_TIMEOUT_MS = 10_000
/** Anyone can name addresses of certificates that do not exist: so many are looked for in a minute. */
const FETCHES_MAX = 20
const FETCHES_MS = 60_000
const PEM = /-----BEGIN CERTIFICATE-----[0-9A-Za-z+/=\s]{1,20000}-----END CERTIFICATE-----/g
const CHAIN_MAX = 5
const RSA_MIN_BITS = 2048
/** The vendor repeats for three days and resends by hand what is thirty days old, with the first time. */
const BEHIND_MAX_MS = 31 * 86_400_000
const AHEAD_MAX_MS = 300_000

const PostbackAnswer = z.object({ verification_status: z.string() })

/** What a notification's headers say about its origin; read, not proved. */
export interface Transmission {
  id: string
  time: string
  signature: string
  algorithm: string
  certificate_url: string
}

/** All five headers, each once and of the vendor's form; `undefined` otherwise. */
export function readTransmission(request: WebhookRequest): Transmission | undefined {
  const read = (name: string, form: RegExp) => {
    const value = singleHeader(request, `paypal-${name}`)
    return value !== undefined && form.test(value) ? value : undefined
  }
  const id = read('transmission-id', /^[0-9A-Za-z-]{1,100}$/)
  const time = read('transmission-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/)
  const signature = read('transmission-sig', /^[0-9A-Za-z+/]{40,1400}={0,2}$/)
  const algorithm = read('auth-algo', /^SHA256withRSA$/)
  const certificate_url = read('cert-url', /^[!-~]{1,500}$/)
  if (!id || !time || !signature || !algorithm || !certificate_url) return undefined
  // One signature has one spelling: padding bits and stray letters would make many of it.
  if (Buffer.from(signature, 'base64').toString('base64') !== signature) return undefined
  return { id, time, signature, algorithm, certificate_url }
}

/** Whether it was sent within the time the vendor repeats and resends in, and not in our future. */
export function isOfNow({ time }: Transmission, now: Date): boolean {
  const away_ms = now.getTime() - Date.parse(time)
  return away_ms >= -AHEAD_MAX_MS && away_ms <= BEHIND_MAX_MS
}

/** Whether a certificate may be fetched from there: an exact origin of the vendor and its folder. */
export function isVendorsAddress(config: Config, address: string): boolean {
  if (!URL.canParse(address)) return false
  const url = new URL(address)
  // Comparing the text too leaves no room for user names, dots, ports or a second reading.
  return (
    certificateOrigins(config).includes(url.origin) &&
    CERTIFICATE_PATH.test(url.pathname) &&
    address === url.origin + url.pathname
  )
}

/**
 * Proves a notification by the certificate it names, which is fetched once a day. Throws GatewayUnavailable
 * when that cannot be fetched: whether it is true is then not known, and the vendor repeats it.
 */
export async function isProvedHere(
  config: Config,
  given: { transmission: Transmission; raw_body: Buffer },
  context: GatewayContext,
): Promise<boolean> {
  const pem = await certificateAt(given.transmission.certificate_url, context)
  return pem !== undefined && isSigned({ ...given, pem, webhook_id: config.webhook_id, now: context.now })
}

/** The name the vendor's signing certificates are issued to. */
export function isVendorsName(name: string): boolean {
  return name.endsWith('.paypal.com')
}

/**
 * The signature over id, time, webhook and the CRC-32 of the raw bytes, by a certificate that is in its time
 * and issued to the vendor; with others in the file, by one of them. Pure.
 */
export function isSigned(given: {
  transmission: Transmission
  raw_body: Buffer
  webhook_id: string
  pem: string
  now: Date
  isName?: (name: string) => boolean
}): boolean {
  const { transmission, raw_body, webhook_id, now, isName = isVendorsName } = given
  const [certificate, ...issuers] = readCertificates(given.pem)
  if (!certificate || !isInTime(certificate, now)) return false
  const names = certificate.subject.split('\n').filter((line) => line.startsWith('CN='))
  if (names.length !== 1 || !isName(names[0]?.slice(3) ?? '')) return false
  if (issuers.length > 0 && !issuers.some((issuer) => isIssuedBy(certificate, issuer, now))) return false
  const key = certificate.publicKey
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (key.asymmetricKeyType !== 'rsa' || bits < RSA_MIN_BITS) return false
  const message = messageOf(transmission, webhook_id, raw_body)
  return verify('RSA-SHA256', Buffer.from(message), key, Buffer.from(transmission.signature, 'base64'))
}

/** What the vendor signs: the checksum in decimal digits. */
export function messageOf(
  { id, time }: Pick<Transmission, 'id' | 'time'>,
  webhook_id: string,
  raw_body: Buffer,
): string {
  return `${id}|${time}|${webhook_id}|${crc32(raw_body)}`
}

/**
 * Asks the vendor whether it sent this. The body goes as it came, for numbers written anew would not be the
 * signed ones; it is known to be JSON by then. Throws GatewayUnavailable when there is no clear answer.
 */
export async function isProvedByVendor(
  config: Config,
  { transmission, raw_body }: { transmission: Transmission; raw_body: Buffer },
  context: GatewayContext,
): Promise<boolean> {
  const facts = JSON.stringify({
    auth_algo: transmission.algorithm,
    cert_url: transmission.certificate_url,
    transmission_id: transmission.id,
    transmission_sig: transmission.signature,
    transmission_time: transmission.time,
    webhook_id: config.webhook_id,
  })
  const raw = `${facts.slice(0, -1)},"webhook_event":${raw_body.toString('utf8')}}`
  const path = '/v1/notifications/verify-webhook-signature'
  const reply = await callApi({ config, context }, { method: 'POST', path, raw })
  // What the vendor finds malformed it has not sent.
  if (reply.refusal !== undefined) return false
  const { verification_status } = readAnswer(PostbackAnswer, reply.body)
  if (verification_status !== 'SUCCESS' && verification_status !== 'FAILURE') {
    throw new GatewayUnavailable('unknown answer to a verification')
  }
  return verification_status === 'SUCCESS'
}

async function certificateAt(url: string, context: GatewayContext): Promise<string | undefined> {
  const { cache, now } = context
  const key = `certificate:${createHash('sha256').update(url).digest('hex')}`
  const held = cache.get(key)
  if (held && held.expires_at > now.getTime()) return held.value as Promise<string | undefined>
  countFetch(context)
  const value = fetchCertificate(url, context)
  const entry = { value, expires_at: now.getTime() + CERTIFICATE_LIFE_MS }
  cache.set(key, entry)
  try {
    const pem = await value
    // One that is not there may come to be; it must not push out those that are.
    if (pem === undefined) cache.delete(key)
    else forgetOldest(cache)
    return pem
  } catch (error) {
    if (cache.get(key) === entry) cache.delete(key)
    throw error
  }
}

async function fetchCertificate(url: string, context: GatewayContext): Promise<string | undefined> {
  const answer = await callVendor({
    method: 'GET',
    url,
    timeout_ms: Math.min(context.timeout_ms ?? FETCH_TIMEOUT_MS, FETCH_TIMEOUT_MS),
    body_max_bytes: CERTIFICATE_MAX_BYTES,
  })
  if (answer.status === 404) return undefined
  if (answer.status !== 200) throw new GatewayUnavailable(`status ${answer.status} of a certificate`)
  if (readCertificates(answer.text).length === 0) throw new GatewayUnavailable('not a certificate')
  return answer.text
}

function countFetch({ cache, now }: GatewayContext): void {
  const held = cache.get('certificate-fetches')
  const is_new = !held || held.expires_at <= now.getTime()
  const count = is_new ? 1 : (held.value as number) + 1
  if (count > FETCHES_MAX) throw new GatewayUnavailable('too many unknown certificates')
  const expires_at = is_new ? now.getTime() + FETCHES_MS : held.expires_at
  cache.set('certificate-fetches', { value: count, expires_at })
}

function forgetOldest(cache: GatewayContext['cache']): void {
  const keys = [...cache.keys()].filter((key) => key.startsWith('certificate:'))
  for (const key of keys.slice(0, -CERTIFICATES_MAX)) cache.delete(key)
}

function readCertificates(pem: string): X509Certificate[] {
  const texts = pem.match(PEM) ?? []
  if (texts.length > CHAIN_MAX) return []
  try {
    return texts.map((text) => new X509Certificate(text))
  } catch {
    // What cannot be read proves nothing.
    return []
  }
}

function isInTime(certificate: X509Certificate, now: Date): boolean {
  return certificate.validFromDate <= now && now <= certificate.validToDate
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate, now: Date): boolean {
  return isInTime(issuer, now) && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}
