import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { errors, jwtVerify, SignJWT, type JWTHeaderParameters } from 'jose'
import type { Clock } from '#kernel/clock'
import type { Db, Tx } from '#kernel/db'
import { assert, Unauthenticated } from '#kernel/errors'
import { type SecretBox, SecretUnreadable } from '#kernel/secrets'
import * as queries from './signing-key-queries.ts'

/** What a valid access token says. `expires_ms` is on the clock. */
export interface AccessClaims {
  user_id: string
  session_id: string
  expires_ms: number
}

/** Makes and checks the short-lived tokens apps call with. Keys change by themselves. */
export interface AccessTokens {
  sign(subject: {
    user_id: string
    session_id: string
  }): Promise<{ access_token: string; expires_in: number }>
  /**
   * Throws Unauthenticated for anything but a token of ours, of this installation's mode, that is not
   * expired.
   */
  verify(token: string): Promise<AccessClaims>
  /** The public halves, newest first: what others check our tokens with. */
  publicKeys(): Promise<{ keys: object[] }>
  /** Makes a new key when the newest is old, and forgets those that signed nothing that is still valid. */
  rotate(): Promise<void>
}

export interface AccessTokenOptions {
  clock: Clock
  box: SecretBox
  /** Where the tokens come from: the address of this installation. */
  issuer: string
  /** What they are for; tokens of the sandbox open nothing live. */
  audience: string
}

const ALGORITHM = 'EdDSA'
/**
 * RFC 9068: a token of another kind, such as an ID token of a vendor, can never be taken for one of these.
 */
const TYPE = 'at+jwt'
export const ACCESS_TOKEN_SECONDS = 600
const DAY_MS = 86_400_000
/** A key signs for a month, and is kept for two days more, in which the last of its tokens ends. */
const SIGNS_MS = 30 * DAY_MS
const KEPT_MS = 32 * DAY_MS
/** Another process's new key is met at the latest by a token that names it. */
const RELOAD_MS = 60_000
/** Unknown names of keys cost one look per this time, however many are made up. */
const UNKNOWN_MS = 2_000
/** Ours have about 400 characters. */
const LENGTH_MAX = 1_024

interface Ring {
  current: { kid: string; private_key: KeyObject }
  public_keys: Map<string, KeyObject>
  jwks: object[]
  read_ms: number
}

/** Makes the signer of a process. The first use makes the first key of an installation. */
export function createAccessTokens(db: Db, options: AccessTokenOptions): AccessTokens {
  const { clock, issuer, audience } = options
  const { current, reload, keyFor } = createKeyRing(db, options)
  return {
    sign: async ({ user_id, session_id }) => {
      const { kid, private_key } = (await current()).current
      const now_s = Math.floor(clock.now_ms() / 1000)
      const access_token = await new SignJWT({ sid: session_id })
        .setProtectedHeader({ alg: ALGORITHM, kid, typ: TYPE })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(user_id)
        .setIssuedAt(now_s)
        .setExpirationTime(now_s + ACCESS_TOKEN_SECONDS)
        .sign(private_key)
      return { access_token, expires_in: ACCESS_TOKEN_SECONDS }
    },
    verify: async (token) => {
      if (token.length > LENGTH_MAX) throw notValid()
      try {
        const { payload } = await jwtVerify(token, keyFor, {
          algorithms: [ALGORITHM],
          issuer,
          audience,
          typ: TYPE,
          currentDate: clock.now(),
          requiredClaims: ['sub', 'sid', 'iat', 'exp'],
        })
        const { sub, sid, exp } = payload
        if (typeof sub !== 'string' || typeof sid !== 'string' || typeof exp !== 'number') throw notValid()
        return { user_id: sub, session_id: sid, expires_ms: exp * 1000 }
      } catch (error) {
        if (error instanceof errors.JWTExpired) throw new Unauthenticated('This access token has expired.')
        if (error instanceof errors.JOSEError) throw notValid()
        throw error
      }
    },
    publicKeys: async () => ({ keys: (await current()).jwks }),
    rotate: async () => {
      await reload()
      const before = new Date(clock.now_ms() - KEPT_MS)
      await db.transact((tx) => queries.deleteSigningKeys(tx, before))
    },
  }
}

/** The keys of this installation, as this process knows them. */
interface KeyRing {
  current(): Promise<Ring>
  reload(): Promise<Ring>
  /** The key a token names. Throws Unauthenticated when there is none. */
  keyFor(header: JWTHeaderParameters): Promise<KeyObject>
}

function createKeyRing(db: Db, { clock, box }: Pick<AccessTokenOptions, 'clock' | 'box'>): KeyRing {
  let ring: Ring | undefined
  let loading: Promise<Ring> | undefined
  let looked_ms = Number.NEGATIVE_INFINITY

  const load = async (): Promise<Ring> => {
    let rows = await queries.listSigningKeys(db)
    let signing = findSigning(rows, clock, box)
    if (signing === undefined) {
      await db.transact((tx) => makeKey(tx, clock, box))
      rows = await queries.listSigningKeys(db)
      signing = findSigning(rows, clock, box)
    }
    assert(signing !== undefined, 'a signing key was just made and is not there')
    const keys = rows.map(({ kid, public_jwk }) => ({ kid, jwk: public_jwk as { kty: string } }))
    return {
      current: signing,
      public_keys: new Map(keys.map(({ kid, jwk }) => [kid, createPublicKey({ key: jwk, format: 'jwk' })])),
      jwks: keys.map(({ kid, jwk }) => ({ ...jwk, kid, alg: ALGORITHM, use: 'sig' })),
      read_ms: performance.now(),
    }
  }
  const reload = (): Promise<Ring> => {
    loading ??= load()
      .then((fresh) => (ring = fresh))
      .finally(() => (loading = undefined))
    return loading
  }
  const current = async (): Promise<Ring> => {
    if (ring === undefined || performance.now() - ring.read_ms > RELOAD_MS) return reload()
    return ring
  }
  const keyFor = async (header: JWTHeaderParameters): Promise<KeyObject> => {
    const kid = header.kid ?? ''
    const known = (await current()).public_keys.get(kid)
    if (known) return known
    if (performance.now() - looked_ms > UNKNOWN_MS) {
      looked_ms = performance.now()
      const fresh = (await reload()).public_keys.get(kid)
      if (fresh) return fresh
    }
    throw new Unauthenticated('This access token was signed by a key that is not known.')
  }
  return { current, reload, keyFor }
}

/** Seals every signing key under the newest key of the box. Answers how many were changed. */
export async function resealSigningKeys(tx: Tx, box: SecretBox): Promise<number> {
  let changed = 0
  for (const { kid, private_sealed } of await queries.listSigningKeys(tx)) {
    const fresh = box.rewrap(private_sealed, contextOf(kid))
    if (fresh === undefined) continue
    await queries.resealSigningKey(tx, kid, fresh)
    changed++
  }
  return changed
}

/** Of several processes that find the newest key too old, one makes the new one. */
async function makeKey(tx: Tx, clock: Clock, box: SecretBox): Promise<void> {
  await queries.lockSigningKeys(tx)
  if (findSigning(await queries.listSigningKeys(tx), clock, box) !== undefined) return
  const { publicKey, privateKey: fresh } = generateKeyPairSync('ed25519')
  const kid = randomBytes(12).toString('base64url')
  await queries.insertSigningKey(tx, {
    kid,
    public_jwk: publicKey.export({ format: 'jwk' }),
    private_sealed: box.seal(fresh.export({ format: 'pem', type: 'pkcs8' }).toString(), contextOf(kid)),
    created_at: clock.now(),
  })
}

/**
 * The newest key that is young enough to sign and can be opened. None when the key that sealed them is gone:
 * then a new one is made, and tokens of the others still hold until they end.
 */
function findSigning(
  rows: readonly queries.SigningKeyRow[],
  clock: Clock,
  box: SecretBox,
): Ring['current'] | undefined {
  for (const { kid, private_sealed, created_at } of rows) {
    if (created_at.getTime() + SIGNS_MS <= clock.now_ms()) return undefined
    try {
      return { kid, private_key: createPrivateKey(box.open(private_sealed, contextOf(kid))) }
    } catch (error) {
      if (!(error instanceof SecretUnreadable)) throw error
    }
  }
  return undefined
}

function contextOf(kid: string): string {
  return `identity.signing_keys/${kid}`
}

function notValid(): Unauthenticated {
  return new Unauthenticated('This is not a valid access token.')
}
