import { BlockList, isIP } from 'node:net'
import { addressCheck } from '@kopilka/extension'

/** IPv4 networks that are not the public Internet, after the special-purpose registry of IANA. */
const NOT_PUBLIC_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]
/**
 * Of IPv6 only 2000::/3 is handed out. Loopback, local, mapped and translated (NAT64) addresses
 * lie outside of
 * it; inside are those that carry an IPv4 address (6to4, Teredo) or stand in books (documentation).
 */
const HANDED_OUT_V6 = network('2000::', 3)
const NOT_PUBLIC_V6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]
/** Where clouds tell a machine its own secrets: no setting opens it. */
const isMetadata = addressCheck(['169.254.0.0/16', 'fe80::/10', 'fd00:ec2::254'])
const not_public = new BlockList()
for (const [address, prefix] of NOT_PUBLIC_V4) not_public.addSubnet(address, prefix, 'ipv4')
for (const [address, prefix] of NOT_PUBLIC_V6) not_public.addSubnet(address, prefix, 'ipv6')

function network(address: string, prefix: number): BlockList {
  const list = new BlockList()
  list.addSubnet(address, prefix, 'ipv6')
  return list
}

/** True for an address of the public Internet; false for every other and for texts that are none. */
export function isPublicAddress(address: string): boolean {
  const version = isIP(address)
  if (version === 4) return !not_public.check(address, 'ipv4')
  if (version !== 6 || address.includes('%')) return false
  return HANDED_OUT_V6.check(address, 'ipv6') && !not_public.check(address, 'ipv6')
}

/**
 * Makes the judge of addresses: `public`, `allowed` for one the operator's networks open, `refused` for all
 * others. Throws RangeError on a network that is none.
 */
export function addressJudge(
  networks: readonly string[],
): (address: string) => 'public' | 'allowed' | 'refused' {
  const isAllowed = addressCheck(networks)
  return (address) => {
    if (isPublicAddress(address)) return 'public'
    return isAllowed(address) && !isMetadata(address) ? 'allowed' : 'refused'
  }
}
