import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import type { OauthSettings } from '../oauth.ts'

/** The vendor's keys, and one that is not among those it shows. */
export interface Keys {
  kid: string
  private_key: KeyObject
  public_key: KeyObject
  foreign_key: KeyObject
}

/** A vendor's keys, each pair made when it is first needed: that takes a while. */
export function lazyKeys(): Keys {
  const own = lazyPair()
  const foreign = lazyPair()
  return {
    kid: 'emulator-1',
    get private_key() {
      return own().privateKey
    },
    get public_key() {
      return own().publicKey
    },
    get foreign_key() {
      return foreign().privateKey
    },
  }
}

function lazyPair(): () => { privateKey: KeyObject; publicKey: KeyObject } {
  let pair: { privateKey: KeyObject; publicKey: KeyObject } | undefined
  return () => (pair ??= generateKeyPairSync('rsa', { modulusLength: 2048 }))
}

/** The key set as the vendor shows it. */
export function jwksOf({ kid, public_key }: Keys): object {
  return { keys: [{ ...public_key.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }] }
}

/** Signs an ID token, or tells the lie that is set. */
export async function idToken(
  keys: Keys,
  lie: OauthSettings['lie'],
  claims: { iss: string; aud: string; nonce: string; iat: number; exp: number } & Record<string, unknown>,
): Promise<string> {
  const told = { ...claims, ...lieAbout(lie, claims) }
  const header = { alg: 'RS256', kid: keys.kid, typ: 'JWT' }
  if (lie === 'unsigned') return `${part({ alg: 'none', typ: 'JWT' })}.${part(told)}.`
  if (lie === 'hmac_by_public_key') {
    const body = `${part({ ...header, alg: 'HS256' })}.${part(told)}`
    const secret = keys.public_key.export({ format: 'pem', type: 'spki' })
    return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`
  }
  const key = lie === 'unknown_key' ? keys.foreign_key : keys.private_key
  const kid = lie === 'unknown_key' ? 'emulator-2' : keys.kid
  return new SignJWT(told).setProtectedHeader({ ...header, kid }).sign(key)
}

function lieAbout(
  lie: OauthSettings['lie'],
  claims: { iss: string; aud: string; iat: number },
): Record<string, unknown> {
  switch (lie) {
    case 'other_nonce':
      return { nonce: 'of-another-sign-in' }
    case 'other_audience':
      return { aud: 'another.apps.example' }
    case 'other_issuer':
      return { iss: 'https://accounts.example' }
    case 'expired':
      return { iat: claims.iat - 7200, exp: claims.iat - 3600 }
    case 'several_audiences':
      return { aud: [claims.aud, 'another.apps.example'], azp: 'another.apps.example' }
    case 'no_subject':
      return { sub: '' }
    default:
      return {}
  }
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
