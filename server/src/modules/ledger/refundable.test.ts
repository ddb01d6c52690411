import { expect, test } from 'vitest'
import { refundable, type RefundableGrant } from './index.ts'

const now = new Date('2026-03-01T12:00:00Z')
const grant = (facts: Partial<RefundableGrant>): RefundableGrant => ({
  id: 'gr_1',
  is_paid: true,
  granted: 12_000n,
  remaining: 12_000n,
  held: 0n,
  price_amount: 50_000n,
  price_currency: 'RUB',
  expires_at: null,
  ...facts,
})

test.each([
  ['nothing used: the whole price', {}, 50_000n],
  ['a third used', { remaining: 8_000n }, 33_333n],
  ['one second left is rounded down in the shop’s favour', { remaining: 1n }, 4n],
  ['all used', { remaining: 0n }, 0n],
  ['what is held is not refundable', { held: 6_000n }, 25_000n],
  ['what has ended is not', { expires_at: now }, 0n],
  ['what ends later is', { expires_at: new Date(now.getTime() + 1) }, 50_000n],
  ['a bonus is worth nothing', { is_paid: false }, 0n],
  ['a free purchase is worth nothing', { price_amount: null, price_currency: null }, 0n],
  [
    'the largest amounts do not overflow',
    {
      granted: 2n ** 53n - 1n,
      remaining: 2n ** 53n - 1n,
      price_amount: 2n ** 53n - 1n,
    },
    2n ** 53n - 1n,
  ],
] satisfies [string, Partial<RefundableGrant>, bigint][])('%s', (_what, facts, amount) => {
  expect(refundable([grant(facts)], now).lines[0]?.refundable).toBe(amount)
})

test('each grant is rounded by itself, and each currency has its own sum', () => {
  const found = refundable(
    [
      grant({ id: 'gr_1', granted: 3n, remaining: 1n, price_amount: 100n }),
      grant({ id: 'gr_2', granted: 3n, remaining: 2n, price_amount: 100n }),
      grant({ id: 'gr_3', granted: 1n, remaining: 1n, price_amount: 70n, price_currency: 'XTR' }),
    ],
    now,
  )
  expect(found.lines.map((line) => line.refundable)).toEqual([33n, 66n, 70n])
  expect(found.totals).toEqual([
    { currency: 'RUB', amount: 99n },
    { currency: 'XTR', amount: 70n },
  ])
})
