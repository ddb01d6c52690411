import type { Receipt } from '@kopilka/extension'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { receiptShare } from './receipt-share.ts'

const item = (unit_amount: bigint, quantity: number): Receipt['items'][number] => ({
  description: '30 minutes',
  quantity,
  unit_amount,
  vat: 'none',
  payment_subject: 'service',
  payment_mode: 'full_payment',
})
const total = (receipt: Receipt): bigint =>
  receipt.items.reduce((sum, { unit_amount, quantity }) => sum + unit_amount * BigInt(quantity), 0n)

describe('the receipt of a part of a payment', () => {
  it('is the receipt itself for the whole amount', () => {
    const receipt: Receipt = { contact: { email: 'a@example.com' }, items: [item(20_000n, 2), item(500n, 1)] }
    expect(receiptShare(receipt, 40_500n)).toBe(receipt)
  })

  it('adds up to the amount to the kopeck, whatever the lines', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.bigInt(1n, 1_000_000n), fc.integer({ min: 1, max: 20 })), {
          minLength: 1,
          maxLength: 10,
        }),
        fc.nat(1000),
        (lines, part) => {
          const receipt: Receipt = {
            contact: {},
            items: lines.map(([amount, quantity]) => item(amount, quantity)),
          }
          const amount = (total(receipt) * BigInt(part + 1)) / 1001n + 1n
          const shared = receiptShare(receipt, amount > total(receipt) ? total(receipt) : amount)
          expect(total(shared)).toBe(amount > total(receipt) ? total(receipt) : amount)
          expect(shared.items.every(({ unit_amount }) => unit_amount > 0n)).toBe(true)
        },
      ),
    )
  })
})
