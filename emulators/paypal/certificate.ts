import { generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/** A key that signs notifications, and the file its certificate is published in. */
export interface Signer {
  key: KeyObject
  /** The certificate and the one of its issuer. */
  pem: string
  /** Each of them by itself. */
  certificate: string
  issuer: string
}

type Valid = 'now' | 'long ago'

/** What may be odd about a signer. */
export interface SignerOptions {
  valid?: Valid
  issuer_valid?: Valid
  /** Bits of its RSA key. */
  key_bits?: number
  /** The name its certificate says it was issued by; that of the issuer when absent. */
  issued_by?: string
}

const SHA256_WITH_RSA = sequence(
  Buffer.from([0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b]),
  Buffer.from([0x05, 0x00]),
)
const COMMON_NAME = Buffer.from([0x06, 0x03, 0x55, 0x04, 0x03])

const KEY_BITS = 2048
const ISSUER_NAME = 'PayPal emulator certification authority'
const made = new Map<string, Signer>()

/** A signer by the name its certificate is issued to; made once per process, for keys are slow to make. */
export function signerOf(common_name: string): Signer {
  const known = made.get(common_name)
  if (known) return known
  const signer = makeSigner(common_name)
  made.set(common_name, signer)
  return signer
}

/** A signer of its own; a test makes odd ones. */
export function makeSigner(common_name: string, options: SignerOptions = {}): Signer {
  const { valid = 'now', issuer_valid = 'now', key_bits = KEY_BITS, issued_by = ISSUER_NAME } = options
  const issuer = newKeys(KEY_BITS)
  const own = newKeys(key_bits)
  const names = { subject: ISSUER_NAME, issuer: ISSUER_NAME }
  const ca = pemOf(certificate({ ...names, of: issuer, by: issuer, valid: issuer_valid }))
  const leaf = pemOf(certificate({ subject: common_name, of: own, issuer: issued_by, by: issuer, valid }))
  return { key: own.privateKey, pem: leaf + ca, certificate: leaf, issuer: ca }
}

interface Keys {
  publicKey: KeyObject
  privateKey: KeyObject
}

function newKeys(modulusLength: number): Keys {
  return generateKeyPairSync('rsa', { modulusLength })
}

interface Facts {
  subject: string
  of: Keys
  issuer: string
  by: Keys
  valid: Valid
}

/** X.509 version 1, by hand: nothing installed makes certificates. */
function certificate({ subject, of, issuer, by, valid }: Facts): Buffer {
  const [from, to] = valid === 'now' ? ['200101000000Z', '491231235959Z'] : ['100101000000Z', '110101000000Z']
  const body = sequence(
    element(0x02, Buffer.from([0x01, ...Buffer.from(subject).subarray(0, 8)])),
    SHA256_WITH_RSA,
    nameOf(issuer),
    sequence(element(0x17, Buffer.from(from)), element(0x17, Buffer.from(to))),
    nameOf(subject),
    of.publicKey.export({ type: 'spki', format: 'der' }),
  )
  const signature = sign('RSA-SHA256', body, by.privateKey)
  return sequence(body, SHA256_WITH_RSA, element(0x03, Buffer.concat([Buffer.from([0]), signature])))
}

function nameOf(common_name: string): Buffer {
  return sequence(element(0x31, sequence(COMMON_NAME, element(0x0c, Buffer.from(common_name)))))
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts))
}

function element(tag: number, content: Buffer): Buffer {
  const { length } = content
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), content])
}

function pemOf(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
