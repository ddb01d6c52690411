import { BlockList, isIP } from 'node:net'

/** Is this address, IPv4 or IPv6 in any spelling, in the list? A text that is no address is not. */
export type AddressCheck = (address: string) => boolean

/**
 * Makes a check from addresses and networks such as `185.71.76.0/27` or `2a02:5180::/32`.
 * An IPv4 address written as IPv6 (`::ffff:185.71.76.1`) is the IPv4 address.
 * Throws RangeError on an entry that is neither.
 */
export function addressCheck(entries: readonly string[]): AddressCheck {
  const list = new BlockList()
  for (const entry of entries) addEntry(list, entry)
  return (address) => {
    const plain = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
    const version = isIP(plain)
    return version !== 0 && list.check(plain, version === 4 ? 'ipv4' : 'ipv6')
  }
}

/** True for an IPv4 or IPv6 address, alone or with a prefix length. */
export function isAddressEntry(entry: string): boolean {
  const [address = '', prefix, ...rest] = entry.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128))
}

function addEntry(list: BlockList, entry: string): void {
  if (!isAddressEntry(entry)) throw new RangeError('an address list entry is not an address or a network')
  const [address = '', prefix] = entry.split('/')
  const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
  if (prefix === undefined) list.addAddress(address, family)
  else list.addSubnet(address, Number(prefix), family)
}
