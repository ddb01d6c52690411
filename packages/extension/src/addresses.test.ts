import { describe, expect, it } from 'vitest'
import { addressCheck, isAddressEntry } from './addresses.ts'

describe('addressCheck', () => {
  const isKnown = addressCheck(['185.71.76.0/27', '77.75.156.11', '2a02:5180::/32', '::1'])

  it.each(['185.71.76.0', '185.71.76.31', '77.75.156.11', '2a02:5180::1', '2A02:5180:0:1509::9', '::1'])(
    'knows %s',
    (address) => {
      expect(isKnown(address)).toBe(true)
    },
  )

  it('takes an IPv4 address written as IPv6 for the IPv4 address', () => {
    expect(isKnown('::ffff:185.71.76.1')).toBe(true)
    expect(isKnown('::FFFF:185.71.76.1')).toBe(true)
    expect(isKnown('::ffff:185.71.76.32')).toBe(false)
  })

  it.each([
    '185.71.76.32',
    '185.71.75.255',
    '77.75.156.12',
    '2a02:5181::1',
    '127.0.0.1',
    '',
    'localhost',
    '185.71.76.1, 10.0.0.1',
    '185.71.76.01',
    '185.71.76.1/32',
    '0',
    '3108457473',
    '185.71.76.1\u0000',
  ])('does not know %j', (address) => {
    expect(isKnown(address)).toBe(false)
  })

  it('tells entries from other texts', () => {
    expect(['10.0.0.1', '10.0.0.0/8', '::1', 'fe80::/10', '0.0.0.0/0'].every(isAddressEntry)).toBe(true)
    expect(
      ['', '10.0.0.0/33', '::1/129', '10.0.0.0/8/8', '10.0.0.0/-1', 'host', '10.0.0.0/'].some(isAddressEntry),
    ).toBe(false)
    expect(() => addressCheck(['host'])).toThrow(RangeError)
  })
})
