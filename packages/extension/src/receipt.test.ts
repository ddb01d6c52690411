import { describe, expect, it } from 'vitest'
import type { Receipt, ReceiptItem } from './receipt-contract.ts'
import { phoneDigits, receiptContact, receiptTotal } from './receipt.ts'

describe('receipts', () => {
  const line = (quantity: number, unit_amount: bigint): ReceiptItem => ({
    description: 'x',
    quantity,
    unit_amount,
    vat: 'none',
    payment_subject: 'service',
    payment_mode: 'full_payment',
  })
  const receipt = (...items: ReceiptItem[]): Receipt => ({ contact: {}, items })

  it('add up exactly, also with a fractional quantity', () => {
    expect(receiptTotal(receipt(line(1, 59900n), line(2, 50n)))).toBe(60000n)
    expect(receiptTotal(receipt(line(0.1, 30n), line(0.2, 10n)))).toBe(5n)
    expect(receiptTotal(receipt(line(1.5, 200n)))).toBe(300n)
    expect(receiptTotal(receipt())).toBe(0n)
  })

  it('have no total when a line is not a whole number of minor units or the quantity makes no sense', () => {
    expect(receiptTotal(receipt(line(0.5, 1n)))).toBeUndefined()
    const refused = [0, -1, 0.0001, 1.0005, Number.NaN, Number.POSITIVE_INFINITY, 100_000]
    expect(refused.filter((quantity) => receiptTotal(receipt(line(quantity, 1000n))) !== undefined)).toEqual(
      [],
    )
    expect(receiptTotal(receipt(line(1, -1n)))).toBeUndefined()
  })

  it('write a phone as digits with the country code', () => {
    expect(phoneDigits('+7 (900) 000-00-00')).toBe('79000000000')
    expect(phoneDigits('8 900 000 00 00')).toBe('79000000000')
    expect(phoneDigits('+81 90 0000 00000')).toBe('81900000 00000'.replace(' ', ''))
    expect(phoneDigits('375291234567')).toBe('375291234567')
    expect(phoneDigits('12')).toBeUndefined()
    expect(phoneDigits('no phone')).toBeUndefined()
  })
})

describe('the contact of a receipt', () => {
  it.each([
    [{ email: ' buyer@example.com ' }, { email: 'buyer@example.com' }],
    [{ phone: '+7 (900) 123-45-67' }, { phone: '79001234567' }],
    [{ phone: '89001234567' }, { phone: '79001234567' }],
    [{ email: 'no address', phone: '79001234567' }, { phone: '79001234567' }],
    [
      { email: 'a@b.ru', phone: '+998 90 123 45 67' },
      { email: 'a@b.ru', phone: '998901234567' },
    ],
    [{ email: 'a@b' }, undefined],
    [{ email: 'a@b..ru' }, undefined],
    [{ email: 'a b@example.com' }, undefined],
    [{ email: `${'a'.repeat(250)}@example.com` }, undefined],
    [{ phone: '12345' }, undefined],
    [{ phone: '1234567890123456' }, undefined],
    [{}, undefined],
    [undefined, undefined],
  ])('of %j is %j', (given, expected) => {
    expect(receiptContact(given)).toEqual(expected)
  })
})
