import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { least } from '#kernel/money'
import { splitRefund, type BearingGrant } from './refund-quote.ts'

const grant = (price: bigint, refundable: bigint, borne = 0n): BearingGrant => ({
  grant_id: 'gr',
  unit: 'minute',
  granted: 100n,
  remaining: 50n,
  price,
  refundable,
  borne,
})

describe('which grant bears which part of a refund', () => {
  it('takes what is left of each grant first, in order', () => {
    expect(splitRefund(150n, [grant(200n, 100n), grant(200n, 100n)])).toEqual([100n, 50n])
  })

  it('goes beyond what is left, up to the prices, when an operator gives back more', () => {
    expect(splitRefund(350n, [grant(200n, 100n), grant(200n, 100n)])).toEqual([200n, 150n])
  })

  it('goes beyond what is left on the grants that bear the least yet, not on the first one twice', () => {
    expect(splitRefund(200n, [grant(200n, 0n, 100n), grant(200n, 0n)])).toEqual([100n, 100n])
    expect(splitRefund(200n, [grant(200n, 0n, 200n), grant(200n, 0n)])).toEqual([0n, 200n])
  })

  it('reaches for what another bears when nothing else is left: one of the two may come to nothing', () => {
    expect(splitRefund(300n, [grant(200n, 0n, 200n), grant(200n, 0n, 100n)])).toEqual([200n, 100n])
  })

  it('adds up to the amount, and no grant bears more than its price', () => {
    const grants = fc.array(
      fc.tuple(fc.bigInt(0n, 10_000n), fc.bigInt(0n, 10_000n), fc.bigInt(0n, 10_000n)),
      {
        minLength: 1,
        maxLength: 8,
      },
    )
    fc.assert(
      fc.property(grants, fc.bigInt(0n, 100_000n), (triples, amount) => {
        const quoted = triples.map(([price, worth, borne]) =>
          grant(price, least(worth, price), least(borne, price)),
        )
        const shares = splitRefund(amount, quoted)
        const prices = quoted.reduce((sum, { price }) => sum + price, 0n)
        expect(shares.reduce((sum, share) => sum + share, 0n)).toBe(amount < prices ? amount : prices)
        shares.forEach((share, index) => expect(share <= (quoted[index]?.price ?? 0n)).toBe(true))
      }),
    )
  })
})
