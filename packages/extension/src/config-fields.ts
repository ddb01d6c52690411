import { z } from 'zod'

/** An HMAC key or password shorter than this can be guessed or was cut while it was copied. */
const SECRET_MIN_BYTES = 16

/** A text in the owner's settings form; the spaces a copied value often brings are cut off. */
export function textField(title: string, options: { max?: number; pattern?: RegExp } = {}) {
  const text = z
    .string()
    .trim()
    .min(1)
    .max(options.max ?? 200)
  return (options.pattern ? text.regex(options.pattern) : text).meta({ title })
}

/** A secret in the owner's settings: at least 16 bytes, encrypted when stored, never shown again. */
export function secretField(title: string) {
  return z
    .string()
    .trim()
    .max(1000)
    .refine((text) => Buffer.byteLength(text, 'utf8') >= SECRET_MIN_BYTES, {
      error: `must have at least ${SECRET_MIN_BYTES} bytes`,
    })
    .meta({ title, secret: true })
}

/**
 * The vendor's API address: https, or http on this machine only (an emulator).
 * No user name, query or fragment; a trailing slash is dropped.
 */
export function baseUrlField(title: string, fallback: string) {
  return z
    .string()
    .trim()
    .max(300)
    .refine(isBaseUrl, { error: 'must be an https address, or http on this machine' })
    .overwrite((text) => text.replace(/\/+$/, ''))
    .default(fallback)
    .meta({ title })
}

/** Whether an address leads to this machine itself, where an emulator may be and a vendor is not. */
export function isLocalUrl(text: string): boolean {
  return URL.canParse(text) && isLoopback(new URL(text).hostname)
}

function isBaseUrl(text: string): boolean {
  if (!URL.canParse(text) || text.includes('?') || text.includes('#')) return false
  const url = new URL(text)
  if (url.username !== '' || url.password !== '') return false
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLocalUrl(text))
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}
