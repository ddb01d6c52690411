import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  formatDate,
  formatMoney,
  formatUnits,
  LOCALES,
  negotiateLocale,
  supportedLocale,
  translate,
} from './locale.ts'

const plain = (text: string): string => text.replaceAll(/[\u00a0\u202f]/g, ' ')

describe('texts', () => {
  test('Russian takes the form of the number: one, few, many and a fraction', () => {
    const texts = [1, 2, 5, 11, 21, 22, 112, 1.5].map((count) =>
      plain(translate('ru', 'unit.minute', { count })),
    )
    expect(texts).toEqual([
      '1 минута',
      '2 минуты',
      '5 минут',
      '11 минут',
      '21 минута',
      '22 минуты',
      '112 минут',
      '1,5 минуты',
    ])
  })

  test('English knows two forms, and a bigint is a count too', () => {
    expect(translate('en', 'unit.check', { count: 1n })).toBe('1 check')
    expect(translate('en', 'unit.check', { count: 1_200n })).toBe('1,200 checks')
  })

  test('an unknown language falls back to English, a regional one to its language', () => {
    expect(translate('de', 'unit.day', { count: 3 })).toBe('3 days')
    expect(plain(translate('ru-RU', 'unit.day', { count: 3 }))).toBe('3 дня')
  })

  test('a key that nobody wrote is a mistake of ours', () => {
    expect(() => translate('en', 'unit.nonsense')).toThrow('there is no text unit.nonsense')
  })

  test('a value cannot smuggle in another text, and is not escaped twice', () => {
    expect(translate('en', 'duration.seconds', { seconds: '$t(language_name) {{minutes}} <b>' })).toBe(
      '$t(language_name) {{minutes}} <b> s',
    )
  })

  test('every language has every text, in every form its grammar asks for', () => {
    const folder = path.resolve(import.meta.dirname, '../../locales')
    const areas = readdirSync(path.join(folder, 'en'))
      .map((name) => path.basename(name, '.json'))
      .toSorted()
    for (const locale of LOCALES) {
      expect(readdirSync(path.join(folder, locale)).toSorted()).toEqual(areas.map((area) => `${area}.json`))
      for (const area of areas) {
        expect(shape(folder, locale, area), `${locale}/${area}`).toEqual(shape(folder, 'en', area))
        const forms = new Intl.PluralRules(locale).resolvedOptions().pluralCategories
        for (const [key, found] of pluralKeys(folder, locale, area)) {
          expect(found.toSorted(), `${locale}/${area} ${key}`).toEqual([...forms].toSorted())
        }
      }
    }
  })
})

describe('languages', () => {
  test('the header’s weights decide, then its order', () => {
    expect(negotiateLocale('ru-RU,ru;q=0.9,en;q=0.8')).toBe('ru')
    expect(negotiateLocale('de;q=1, en;q=0.5, ru;q=0.7')).toBe('ru')
    expect(negotiateLocale('en;q=0.1,ru;q=0.2')).toBe('ru')
    expect(negotiateLocale('ru;q=0,en')).toBe('en')
  })

  test('nothing, nonsense and a flood are English', () => {
    for (const header of [undefined, '', '*', 'de', ';;;q=', 'ru;q=abc', 'x'.repeat(1_000_000), 'rubbish']) {
      expect(negotiateLocale(header)).toBe('en')
    }
    expect(supportedLocale('ru_RU')).toBe('ru')
    expect(supportedLocale('')).toBe('en')
  })
})

describe('money', () => {
  test.each([
    [19_900n, 'RUB', 'ru', '199 ₽'],
    [120_050n, 'RUB', 'ru', '1 200,50 ₽'],
    [120_050n, 'USD', 'en', '$1,200.50'],
    [50n, 'XTR', 'ru', '50 ⭐'],
    [2_500n, 'XTR', 'en', '2,500 ⭐'],
    [120_000n, 'KZT', 'ru', '1 200 ₸'],
    [1_500n, 'JPY', 'en', '¥1,500'],
    [1_500n, 'KWD', 'en', 'KWD 1.500'],
    [1_500_000n, 'USDT', 'en', '1.5 USDT'],
    [1n, 'BTC', 'en', '0.00000001 BTC'],
    [-500n, 'USD', 'en', '-$5'],
    [5n, 'USD', 'en', '$0.05'],
    [0n, 'RUB', 'ru', '0 ₽'],
  ])('%s %s in %s is %s', (amount, currency, locale, text) => {
    expect(plain(formatMoney(amount, currency, locale))).toBe(text)
  })

  test('is exact where a number would not be', () => {
    expect(plain(formatMoney(9_007_199_254_740_993_01n, 'USD', 'en'))).toBe('$9,007,199,254,740,993.01')
  })
})

describe('units', () => {
  test.each([
    [1_800n, 60n, 'minute', 'ru', '30 минут'],
    [750n, 60n, 'minute', 'ru', '12 мин 30 с'],
    [750n, 60n, 'minute', 'en', '12 min 30 s'],
    [45n, 60n, 'minute', 'en', '45 s'],
    [-90n, 60n, 'minute', 'en', '−1 min 30 s'],
    [0n, 60n, 'minute', 'ru', '0 минут'],
    [3n, 1n, 'check', 'ru', '3 проверки'],
    [1_999n, 1_000n, 'point', 'en', '1.99 points'],
    [10_000n, 1n, 'request', 'en', '10,000 requests'],
    [7n, 1n, 'greeting', 'en', '7 greeting'],
  ])('%s of scale %s %s in %s are %s', (amount, scale, unit, locale, text) => {
    expect(plain(formatUnits(amount, scale, unit, locale))).toBe(text)
  })

  test('a unit of the owner’s own is written by the name he gave', () => {
    expect(plain(formatUnits(5n, 1n, 'card', 'ru', 'открыток'))).toBe('5 открыток')
  })
})

test('a date is a date in its zone', () => {
  const moment = new Date('2026-11-21T23:30:00Z')
  expect(plain(formatDate(moment, 'ru', 'Europe/Moscow'))).toBe('22 ноября 2026 г.')
  expect(formatDate(moment, 'en')).toBe('November 21, 2026')
})

function texts(folder: string, locale: string, area: string): string[] {
  const flat = (value: unknown, at: string): string[] =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([name, member]) => flat(member, at === '' ? name : `${at}.${name}`))
      : [at]
  return flat(JSON.parse(readFileSync(path.join(folder, locale, `${area}.json`), 'utf8')), '')
}

const FORM = /_(zero|one|two|few|many|other)$/

function shape(folder: string, locale: string, area: string): string[] {
  return [...new Set(texts(folder, locale, area).map((key) => key.replace(FORM, '_*')))].toSorted()
}

function pluralKeys(folder: string, locale: string, area: string): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const key of texts(folder, locale, area)) {
    const form = FORM.exec(key)?.[1]
    if (form === undefined) continue
    const base = key.replace(FORM, '')
    found.set(base, [...(found.get(base) ?? []), form])
  }
  return found
}
