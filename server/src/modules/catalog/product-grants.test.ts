import { expect, test } from 'vitest'
import { completeGrant, type GrantInput, grantFaults, sameGrants, shortenGrant } from './product-grants.ts'

const purchase = completeGrant({ unit: 'minute', amount: 1800n, validity_days: 90 })
const bonus = completeGrant({ unit: 'minute', amount: 300n, source: 'bonus' })

test('a purchase is paid with priority 50, a bonus free with 20, and neither expires unless told', () => {
  expect(completeGrant({ unit: 'minute', amount: 1n })).toEqual({
    unit: 'minute',
    amount: 1n,
    validity_days: null,
    priority: 50,
    source: 'purchase',
    is_paid: true,
  })
  expect(bonus).toMatchObject({ priority: 20, source: 'bonus', is_paid: false })
})

test('what is said wins over what follows', () => {
  const input: GrantInput = {
    unit: 'check',
    amount: 2n,
    validity_days: 3,
    priority: 0,
    source: 'purchase',
    is_paid: false,
  }
  expect(completeGrant(input)).toEqual(input)
})

test('shortening leaves out exactly what follows by itself', () => {
  expect(shortenGrant(purchase)).toEqual({ unit: 'minute', amount: 1800n, validity_days: 90 })
  expect(shortenGrant(bonus)).toEqual({ unit: 'minute', amount: 300n, source: 'bonus' })
  for (const source of ['purchase', 'bonus'] as const) {
    for (const priority of [0, 20, 50]) {
      for (const is_paid of [true, false]) {
        const grant = { ...purchase, source, priority, is_paid }
        expect(completeGrant(shortenGrant(grant))).toEqual(grant)
      }
    }
  }
})

test('a product needs a paid grant, and a bonus is never paid', () => {
  expect(grantFaults([purchase, bonus])).toEqual([])
  expect(grantFaults([bonus])).toEqual([{ path: [], detail: 'must have at least one paid grant' }])
  expect(grantFaults([purchase, { ...bonus, is_paid: true }])).toEqual([
    { path: [1, 'is_paid'], detail: 'must be false: a bonus is free' },
  ])
})

test('lists are the same only with the same grants in the same order', () => {
  expect(sameGrants([purchase, bonus], [{ ...purchase }, { ...bonus }])).toBe(true)
  expect(sameGrants([purchase, bonus], [bonus, purchase])).toBe(false)
  expect(sameGrants([purchase], [purchase, bonus])).toBe(false)
  const others = {
    unit: 'check',
    amount: 1n,
    validity_days: null,
    priority: 1,
    source: 'bonus',
    is_paid: false,
  }
  for (const [member, value] of Object.entries(others)) {
    expect(sameGrants([purchase], [{ ...purchase, [member]: value }])).toBe(false)
  }
})
