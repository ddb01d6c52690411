import { expect, test } from 'vitest'
import { localize } from './localize.ts'

const texts = { ru: 'минута', 'en-GB': 'minute (GB)', 'zh-Hant': '分鐘' }

test.each([
  ['ru', 'минута'],
  ['RU', 'минута'],
  ['ru-RU', 'минута'],
  ['en-gb', 'minute (GB)'],
  ['en', 'fallback'],
  ['en-US', 'fallback'],
  ['zh-Hant-TW', '分鐘'],
  ['zh', 'fallback'],
  ['r', 'fallback'],
  ['', 'fallback'],
  ['constructor', 'fallback'],
  [undefined, 'fallback'],
])('the text for %j is %j', (locale, expected) => {
  expect(localize(texts, 'fallback', locale)).toBe(expected)
})

test('without any text and fallback there is none', () => {
  expect(localize({}, null, 'ru')).toBeNull()
})
