import type { Receipt } from '@kopilka/extension'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  plainReceipt,
  receiptShare,
  renderedItems,
  takenByLine,
  worth,
  type FrozenItem,
  type FrozenReceipt,
} from './receipt-share.ts'

const item = (unit_amount: bigint, quantity: number): Receipt['items'][number] => ({
  description: '30 minutes',
  quantity,
  unit_amount,
  vat: 'none',
  payment_subject: 'service',
  payment_mode: 'full_payment',
})
const worthOf = ({ items }: FrozenReceipt, position: number): bigint => {
  const line = items[position]
  return line === undefined ? 0n : worth(line)
}
const total = (receipt: FrozenReceipt): bigint =>
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

describe('the receipts of several refunds of one payment', () => {
  it('add up to each refund, take no line twice, and give back every line in the end', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.bigInt(1n, 100_000n), fc.integer({ min: 1, max: 20 })), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.array(fc.nat(1000), { maxLength: 6 }),
        (lines, cuts) => {
          const receipt: FrozenReceipt = {
            contact: {},
            items: lines.map(([amount, quantity], position) => ({ ...item(amount, quantity), position })),
          }
          const whole = total(receipt)
          const marks = cuts.map((cut) => (whole * BigInt(cut)) / 1000n).toSorted((a, b) => (a < b ? -1 : 1))
          const parts = [...marks, whole]
            .map((mark, index) => mark - (marks[index - 1] ?? 0n))
            .filter((part) => part > 0n)
          const given: FrozenItem[] = []
          for (const part of parts) {
            const share = receiptShare(receipt, part, takenByLine(given))
            expect(total(share)).toBe(part)
            given.push(...share.items)
            for (const [position, sum] of takenByLine(given)) {
              expect(sum <= worthOf(receipt, position)).toBe(true)
            }
          }
          for (const [position] of receipt.items.entries()) {
            expect(takenByLine(given).get(position)).toBe(worthOf(receipt, position))
          }
        },
      ),
    )
  })

  it('never fall short of the amount when a refund unknown to us took other lines', () => {
    const receipt = { contact: {}, items: [item(100n, 1), item(100n, 1)] }
    expect(total(receiptShare(receipt, 150n, new Map([[0, 100n]])))).toBe(150n)
  })
})

describe('lines paid for ahead', () => {
  it('read as the thing itself once it is given; others stay as they were', () => {
    const ahead = {
      ...item(100n, 1),
      vat: '22/122' as const,
      payment_subject: 'payment',
      payment_mode: 'full_prepayment',
    }
    const rendered = { vat: '22' as const, payment_subject: 'service' }
    expect(renderedItems([{ ...ahead, rendered }, item(5n, 1)])).toEqual([
      { ...ahead, ...rendered, payment_mode: 'full_payment' },
      item(5n, 1),
    ])
    expect(plainReceipt({ contact: {}, items: [{ ...ahead, rendered, position: 3 }] }).items).toEqual([ahead])
  })
})
