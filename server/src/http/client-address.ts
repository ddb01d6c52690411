import { isIP } from 'node:net'
import { addressCheck } from '@kopilka/extension'
import type { Actor } from './actor.ts'

/**
 * What limits are counted under: an IPv4 address, or the /64 network of an IPv6 address, since whoever has
 * one such address has 2^64 of them. An IPv4 address written as IPv6 is the IPv4 address.
 */
export function addressKey(address: string): string {
  const version = isIP(address)
  // A socket that is gone, or whatever a proxy calls an address.
  if (version === 0) return 'unknown'
  if (version === 4) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const [left = '', right] = (address.split('%')[0] ?? '').split('::')
  const groups = left === '' ? [] : left.split(':')
  if (right !== undefined) {
    // A tail in dotted form stands for two groups, which both lie in the half that does not matter here.
    const tail = right === '' ? [] : right.split(':')
    const tail_length = tail.length + (right.includes('.') ? 1 : 0)
    while (groups.length + tail_length < 8) groups.push('0')
    groups.push(...tail)
  }
  const network = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16))
  return `${network.join(':')}::/64`
}

/**
 * The network of a person who acts for himself, for limits; undefined for the owner's own server, which asks
 * for many people from one address.
 */
export function networkOfPerson({
  actor,
  ip,
}: {
  actor: Pick<Actor, 'kind'>
  ip: string
}): string | undefined {
  return actor.kind === 'user' ? addressKey(ip) : undefined
}

/** Loopback and the private networks of RFC 1918, RFC 4193 and link-local: machines of the same owner. */
export const isPrivateAddress = addressCheck([
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '::1',
  'fc00::/7',
  'fe80::/10',
])
