import { describe, expect, test } from 'vitest'
import { newId } from '#kernel/ids'
import { isExternalId, parseCustomerKey, parseTelegramId } from './customer-key.ts'

describe('a customer’s name', () => {
  test('is our id, an external id or a Telegram id', () => {
    const id = newId('cus')
    expect(parseCustomerKey(id)).toEqual({ id })
    expect(parseCustomerKey('external_id:user 42/ж')).toEqual({ external_id: 'user 42/ж' })
    expect(parseCustomerKey('external_id:telegram_id:7')).toEqual({ external_id: 'telegram_id:7' })
    expect(parseCustomerKey('telegram_id:9007199254740991')).toEqual({ telegram_id: 9_007_199_254_740_991n })
  })

  test.each([
    '',
    'cus_',
    'cus_1',
    newId('ord'),
    'external_id',
    'external_id:',
    'external_id: x',
    'external_id:x ',
    'external_id:a\u0000b',
    'external_id:a\nb',
    'external_id:\ud800',
    `external_id:${'x'.repeat(201)}`,
    'EXTERNAL_ID:x',
    'telegram_id:',
    'telegram_id:0',
    'telegram_id:-1',
    'telegram_id:01',
    'telegram_id:1.0',
    'telegram_id:1e3',
    'telegram_id:9007199254740992',
    'telegram_id:99999999999999999999',
    ':x',
    '__proto__:x',
  ])('is nobody’s when it reads %j', (text) => {
    expect(parseCustomerKey(text)).toBeUndefined()
  })

  test('may be an external id of 1 to 200 whole, visible characters', () => {
    expect(isExternalId('x'.repeat(200))).toBe(true)
    expect(isExternalId('👩‍🚀')).toBe(true)
    expect(isExternalId('a\u007f')).toBe(false)
    expect(isExternalId('\u00a0a')).toBe(false)
  })

  test('is a Telegram id only as plain digits up to 2^53 − 1', () => {
    expect(parseTelegramId('1')).toBe(1n)
    expect(parseTelegramId('٣')).toBeUndefined()
    expect(parseTelegramId(' 1')).toBeUndefined()
  })
})
