import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { assert } from './errors.ts'
import type { SecretKey } from './secret-keys.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const FORM = 's1'

/** A sealed text cannot be opened. `hint` says what to do; nothing in it is secret. */
export class SecretUnreadable extends Error {
  readonly code: 'unknown_key' | 'altered' | 'malformed'
  readonly hint: string
  constructor(code: SecretUnreadable['code'], message: string, hint: string) {
    super(message)
    this.name = 'SecretUnreadable'
    this.code = code
    this.hint = hint
  }
}

/**
 * Seals secrets for the database: each under a random key of its own, which is itself sealed under a key that
 * is not in the database. A sealed text is bound to its `context` (such as
 * `payments.gateway_settings/yookassa`): copied into another row it does not open.
 */
export interface SecretBox {
  /** Answers printable text. The same secret sealed twice looks different. */
  seal(secret: string, context: string): string
  /** Throws {@link SecretUnreadable}. */
  open(sealed: string, context: string): string
  /**
   * The same secret under the newest key, without opening the secret itself; `undefined` when it is already.
   * Throws {@link SecretUnreadable}.
   */
  rewrap(sealed: string, context: string): string | undefined
  /**
   * 32 bytes for one use, from the newest key: `deriveKey('cursors')`. The same name gives the same bytes.
   */
  deriveKey(name: string): Buffer
  /** As {@link deriveKey} from every key, newest first: to check what was signed before a rotation. */
  deriveKeys(name: string): Buffer[]
}

/** Makes a box of keys, newest first: the first one seals, all of them open. */
export function createSecretBox(options: { keys: readonly SecretKey[] }): SecretBox {
  const [newest] = options.keys
  assert(newest !== undefined, 'a secret box needs a key')
  for (const { key } of options.keys) assert(key.length === KEY_BYTES, `a secret key has ${KEY_BYTES} bytes`)
  const keys = new Map(options.keys.map((entry) => [entry.id, entry]))
  assert(keys.size === options.keys.length, 'two secret keys have the same id')

  const unwrap = (parts: SealedParts, context: string): Buffer => {
    const entry = keys.get(parts.key_id)
    if (!entry) {
      throw new SecretUnreadable(
        'unknown_key',
        `the key ${parts.key_id} that sealed this is not there`,
        'Put the key back into secrets.key or KOPILKA_SECRET_KEYS, or enter the secret again.',
      )
    }
    return decrypt(entry.key, parts.wrapped_key, `key\n${parts.key_id}\n${context}`)
  }
  const wrap = (data_key: Buffer, context: string): Pick<SealedParts, 'key_id' | 'wrapped_key'> => ({
    key_id: newest.id,
    wrapped_key: encrypt(newest.key, data_key, `key\n${newest.id}\n${context}`),
  })
  return {
    seal: (secret, context) => {
      const data_key = randomBytes(KEY_BYTES)
      const content = encrypt(data_key, Buffer.from(secret, 'utf8'), `data\n${context}`)
      return write({ ...wrap(data_key, context), content })
    },
    open: (sealed, context) => {
      const parts = read(sealed)
      return decrypt(unwrap(parts, context), parts.content, `data\n${context}`).toString('utf8')
    },
    rewrap: (sealed, context) => {
      const parts = read(sealed)
      if (parts.key_id === newest.id) return undefined
      return write({ ...wrap(unwrap(parts, context), context), content: parts.content })
    },
    deriveKey: (name) => derive(newest.key, name),
    deriveKeys: (name) => options.keys.map(({ key }) => derive(key, name)),
  }
}

interface SealedParts {
  key_id: string
  wrapped_key: Buffer
  content: Buffer
}

function write({ key_id, wrapped_key, content }: SealedParts): string {
  return [FORM, key_id, wrapped_key.toString('base64url'), content.toString('base64url')].join('.')
}

function read(sealed: string): SealedParts {
  const [form, key_id, wrapped_key, content, ...rest] = sealed.split('.')
  if (form !== FORM || !key_id || !wrapped_key || !content || rest.length > 0) {
    throw new SecretUnreadable('malformed', 'this is not a sealed secret', 'Enter the secret again.')
  }
  return {
    key_id,
    wrapped_key: Buffer.from(wrapped_key, 'base64url'),
    content: Buffer.from(content, 'base64url'),
  }
}

function encrypt(key: Buffer, plain: Buffer, context: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(context, 'utf8'))
  const body = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([nonce, body, cipher.getAuthTag()])
}

function decrypt(key: Buffer, sealed: Buffer, context: string): Buffer {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw altered()
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(Buffer.from(context, 'utf8'))
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  const body = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES))
  try {
    return Buffer.concat([body, decipher.final()])
  } catch {
    throw altered()
  }
}

/** The tag does not fit: other bytes, another key under this id, or the text of another row. */
function altered(): SecretUnreadable {
  return new SecretUnreadable(
    'altered',
    'the sealed secret was altered, belongs elsewhere, or its key was replaced',
    'Restore the row or the key from a backup, or enter the secret again.',
  )
}

function derive(key: Buffer, name: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), `kopilka/${name}`, KEY_BYTES))
}
