import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createInstance, type i18n } from 'i18next'
import { assert } from './errors.ts'
import { currencyDigits, shareRoundedDown } from './money.ts'

/** The languages every text exists in. Others fall back to English. */
export const LOCALES = ['en', 'ru'] as const
export type Locale = (typeof LOCALES)[number]

const FALLBACK: Locale = 'en'
/** `server/locales/{language}/{area}.json`; the area is the part of a key before the colon. */
const FOLDER = path.resolve(import.meta.dirname, '../../locales')
const HEADER_MAX = 500
/** A space that does not break: a number stays with its sign. */
const NO_BREAK_SPACE = '\u00a0'

let catalogue: i18n | undefined

/**
 * The text of a key in a language: `translate('ru', 'unit.minute', { count: 5 })` is `5 минут`.
 * Keys of an area other than `common` are written `area:key`. A language or key that is missing falls back to
 * English. Values are put in as they are: HTML has to be escaped where it is written.
 * Throws AssertionFailed for a key that English does not have either.
 */
export function translate(
  locale: string,
  key: string,
  values: Readonly<Record<string, string | number | bigint>> = {},
): string {
  const texts = load()
  const lng = supportedLocale(locale)
  assert(hasText(key), `there is no text ${key}`)
  const options: Record<string, unknown> = { lng }
  for (const [name, value] of Object.entries(values)) {
    options[name] = typeof value === 'bigint' ? Number(value) : value
  }
  const text: unknown = texts.t(key, options)
  assert(typeof text === 'string', `${key} names several texts`)
  return text
}

/** Whether there is a text under this key, in English at least. */
export function hasText(key: string): boolean {
  const texts = load()
  return texts.exists(key, { lng: FALLBACK }) || texts.exists(key, { lng: FALLBACK, count: 2 })
}

/** The supported language of a tag such as `ru-RU` or `ru_RU`; English for all others. */
export function supportedLocale(tag: string): Locale {
  return LOCALES.find((locale) => locale === languageOf(tag)) ?? FALLBACK
}

/** The best of our languages for an `Accept-Language` header; English without one or when none fits. */
export function negotiateLocale(accept_language: string | undefined): Locale {
  const wishes = (accept_language ?? '').slice(0, HEADER_MAX).split(',').map(readWish)
  const best = wishes
    .flatMap(({ tag, weight }) => {
      const locale = tag === '*' ? FALLBACK : LOCALES.find((known) => languageOf(tag) === known)
      return locale !== undefined && weight > 0 ? [{ locale, weight }] : []
    })
    .toSorted((a, b) => b.weight - a.weight)
    .at(0)
  return best?.locale ?? FALLBACK
}

/**
 * Money for people: `1 200 ₽`, `$12.50`, `50 ⭐`. Amounts are in minor units (Stars: whole stars).
 * A whole sum is written without zeros behind the comma. Exact for any amount.
 */
export function formatMoney(amount: bigint, currency: string, locale: string): string {
  const lng = supportedLocale(locale)
  const digits = currencyDigits(currency)
  const text = decimalText(amount, digits)
  if (currency === 'XTR') return `${new Intl.NumberFormat(lng).format(text)}${NO_BREAK_SPACE}⭐`
  if (!/^[A-Z]{3}$/.test(currency) || digits > 3) {
    const number = new Intl.NumberFormat(lng, { maximumFractionDigits: digits }).format(text)
    return `${number}${NO_BREAK_SPACE}${currency}`
  }
  return new Intl.NumberFormat(lng, {
    style: 'currency',
    currency,
    currencyDisplay: 'narrowSymbol',
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    trailingZeroDisplay: 'stripIfInteger',
  }).format(text)
}

/**
 * An amount of a unit for people. `amount` is in the unit's smallest part, `scale` parts make one: 750
 * seconds of `minute` with scale 60 are `12 min 30 s`; 5 of `check` with scale 1 are `5 checks`. Never
 * rounded up. A unit without texts of its own is written by its `name`, or its code.
 */
export function formatUnits(
  amount: bigint,
  scale: bigint,
  unit: string,
  locale: string,
  name?: string,
): string {
  assert(scale > 0n, 'a unit has a scale of at least one')
  const lng = supportedLocale(locale)
  const sign = amount < 0n ? '−' : ''
  const size = amount < 0n ? -amount : amount
  const whole = shareRoundedDown(size, 1n, scale)
  const rest = size - whole * scale
  const key = `unit.${unit}`
  if (unit === 'minute' && scale === 60n && rest > 0n) {
    const minutes = new Intl.NumberFormat(lng).format(whole)
    const values = { minutes, seconds: String(rest) }
    return sign + translate(lng, whole === 0n ? 'duration.seconds' : 'duration.minutes_seconds', values)
  }
  const hundredths = shareRoundedDown(rest, 100n, scale)
  const count = Number(decimalText(whole * 100n + hundredths, 2))
  if (hasText(key)) return sign + translate(lng, key, { count })
  return `${sign}${new Intl.NumberFormat(lng).format(count)}${NO_BREAK_SPACE}${name ?? unit}`
}

/** A date for people: `21 ноября 2026 г.`. In UTC unless a zone is given. */
export function formatDate(moment: Date, locale: string, timezone = 'UTC'): string {
  return new Intl.DateTimeFormat(supportedLocale(locale), { dateStyle: 'long', timeZone: timezone }).format(
    moment,
  )
}

function languageOf(tag: string): string | undefined {
  return tag.slice(0, 35).toLowerCase().split(/[-_]/, 1)[0]
}

function readWish(part: string): { tag: string; weight: number } {
  const [tag = '', ...parameters] = part.trim().split(';')
  const quality = parameters
    .map((parameter) => /^\s*q=([01](?:\.\d{0,3})?)\s*$/i.exec(parameter)?.[1])
    .find(Boolean)
  return {
    tag: tag.trim(),
    weight: quality === undefined ? (parameters.length > 0 ? 0 : 1) : Number(quality),
  }
}

/** Minor units as decimal text: the number formatter reads it exactly, a number would not hold it. */
function decimalText(amount: bigint, digits: number): Intl.StringNumericLiteral {
  const size = String(amount < 0n ? -amount : amount).padStart(digits + 1, '0')
  const sign = amount < 0n ? '-' : ''
  const text = digits === 0 ? size : `${size.slice(0, -digits)}.${size.slice(-digits)}`
  return `${sign}${text}` as Intl.StringNumericLiteral
}

function load(): i18n {
  if (catalogue) return catalogue
  const areas = readdirSync(path.join(FOLDER, FALLBACK))
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length))
  const read = (locale: Locale, area: string): object =>
    JSON.parse(readFileSync(path.join(FOLDER, locale, `${area}.json`), 'utf8')) as object
  catalogue = createInstance({
    lng: FALLBACK,
    fallbackLng: FALLBACK,
    supportedLngs: [...LOCALES],
    ns: areas,
    defaultNS: 'common',
    resources: Object.fromEntries(
      LOCALES.map((locale) => [locale, Object.fromEntries(areas.map((area) => [area, read(locale, area)]))]),
    ),
    interpolation: { escapeValue: false },
    returnNull: false,
    initAsync: false,
  })
  void catalogue.init()
  return catalogue
}
