import { describe, expect, it } from 'vitest'
import { billableMs, costNano, partsOf, sessionBillableMs, type RoundingRule } from './rating.ts'

const blocks15: RoundingRule = {
  increment_ms: 15_000n,
  minimum_ms: 15_000n,
  channel_group: 1,
  empty_increments: 1,
}
const pairs: RoundingRule = {
  increment_ms: 1000n,
  minimum_ms: 15_000n,
  channel_group: 2,
  empty_increments: 0,
}

describe('rating of speech', () => {
  it.each([
    ['37 s in blocks of 15 s is 45 s', blocks15, 37_000n, 1, 45_000n],
    ['5 s is a whole block', blocks15, 5000n, 1, 15_000n],
    ['8 s is a whole block', blocks15, 8000n, 1, 15_000n],
    ['15 s is one block, not two', blocks15, 15_000n, 1, 15_000n],
    ['15.001 s is two blocks', blocks15, 15_001n, 1, 30_000n],
    ['an empty request is one block', blocks15, 0n, 1, 15_000n],
    ['two channels of 5 s are two blocks', blocks15, 5000n, 2, 30_000n],
    ['1 s of one channel in pairs is the minimum of 15 s', pairs, 1000n, 1, 15_000n],
    ['1 s of three channels is two pairs', pairs, 1000n, 3, 30_000n],
    ['15.5 s of two channels is 16 s', pairs, 15_500n, 2, 16_000n],
    ['15.5 s of four channels is 32 s', pairs, 15_500n, 4, 32_000n],
    ['nothing costs nothing where empty requests are free', pairs, 0n, 1, 0n],
  ])('%s', (_title, rule, duration, channels, expected) => {
    expect(billableMs(rule, duration, channels)).toBe(expected)
  })

  it('charges a stream of 3 s pieces only when it crosses into a new block', () => {
    const session = { duration_ms: 0n, billed_ms: 0n }
    const charged: bigint[] = []
    for (let piece = 0; piece < 6; piece++) {
      const owed = sessionBillableMs(blocks15, session, 3000n, 1)
      charged.push(owed)
      session.duration_ms += 3000n
      session.billed_ms += owed
    }
    expect(charged).toEqual([15_000n, 0n, 0n, 0n, 0n, 15_000n])
  })

  it('never charges less than nothing when a rule became cheaper within a session', () => {
    expect(sessionBillableMs(blocks15, { duration_ms: 15_000n, billed_ms: 90_000n }, 1000n, 1)).toBe(0n)
  })

  it('rounds a begun part up and prices increments exactly', () => {
    expect(partsOf(15_001n, 1000n)).toBe(16n)
    expect(costNano(45_000n, 15_000n, 160_000_000n)).toBe(480_000_000n)
    expect(costNano(1000n, 60_000n, 16_000_000n)).toBe(266_667n)
  })
})
