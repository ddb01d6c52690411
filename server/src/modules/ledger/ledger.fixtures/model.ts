/**
 * The ledger in a hundred lines of plain objects: what must be true, without any of what makes it fast or
 * durable. Grants, holds and spends only; one unit.
 */
interface Lot {
  name: string
  remaining: bigint
  held: bigint
  granted: bigint
  revoked: bigint
  written_off: bigint
  priority: number
  is_paid: boolean
  starts_at: number
  expires_at: number
  created_at: number
  order: number
}

interface Part {
  lot: Lot
  amount: bigint
}

interface ModelHold {
  customer_id: string
  parts: Part[]
  amount: bigint
  expires_at: number
  status: 'placed' | 'expired' | 'ended'
}

export interface Terms {
  name: string
  amount: bigint
  priority: number
  is_paid: boolean
  starts_at?: Date | undefined
  expires_at?: Date | undefined
}

/** Every verb answers whether it is done; a refused one changes nothing. */
export interface Model {
  tick(now: Date): void
  give(customer_id: string, terms: Terms): void
  spend(customer_id: string, amount: bigint, id: string): boolean
  hold(customer_id: string, amount: bigint, id: string, ttl_seconds: number): boolean
  capture(hold_id: string, amount: bigint, spend_id: string): boolean
  release(hold_id: string): boolean
  reverse(spend_id: string, amount: bigint): boolean
  /** How much was taken at once. */
  revoke(name: string, amount: bigint): bigint
  adjust(customer_id: string, amount: bigint, name: string): boolean
  send(from: string, to: string, amount: bigint, name: string): boolean
  wallet(customer_id: string): { balance: bigint; held: bigint }
  left(customer_id: string): bigint[]
}

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const sum = (parts: readonly { amount: bigint }[]): bigint =>
  parts.reduce((total, part) => total + part.amount, 0n)

/** Makes an empty model that stands at a moment. */
export function createModel(start: Date): Model {
  let now = start.getTime()
  let orders = 0
  const wallets = new Map<string, Lot[]>()
  const holds = new Map<string, ModelHold>()
  const spends = new Map<string, Part[]>()
  const lotsOf = (customer_id: string): Lot[] => wallets.get(customer_id) ?? []
  const isLive = (lot: Lot): boolean => lot.starts_at <= now && now < lot.expires_at

  const add = (
    customer_id: string,
    lot: Omit<Lot, 'order' | 'held' | 'granted' | 'revoked' | 'written_off'>,
  ): void => {
    const made = { ...lot, granted: lot.remaining, held: 0n, revoked: 0n, written_off: 0n, order: orders++ }
    wallets.set(customer_id, [...lotsOf(customer_id), made])
  }
  /** Parts in the burn order; none when there is not enough. */
  const choose = (customer_id: string, amount: bigint): Part[] => {
    const parts: Part[] = []
    let left = amount
    const lots = lotsOf(customer_id)
      .filter(isLive)
      .toSorted(
        (a, b) =>
          a.priority - b.priority ||
          compare(a.expires_at, b.expires_at) ||
          Number(a.is_paid) - Number(b.is_paid) ||
          a.created_at - b.created_at ||
          a.order - b.order,
      )
    for (const lot of lots) {
      const part = min(left, lot.remaining - lot.held)
      left -= part
      if (part > 0n) parts.push({ lot, amount: part })
    }
    return left === 0n ? parts : []
  }
  const take = (parts: readonly Part[]): void => {
    for (const { lot, amount } of parts) lot.remaining -= amount
  }
  /**
   * What comes back to a lot that was refunded goes to the refund first; what comes back to one that ended
   * ends.
   */
  const settleBack = (lot: Lot, amount: bigint): void => {
    const owed = min(lot.written_off, min(amount, lot.remaining - lot.held))
    lot.written_off -= owed
    lot.revoked += owed
    lot.remaining -= owed
    endLot(lot)
  }
  const endLot = (lot: Lot): void => {
    if (now >= lot.expires_at) lot.remaining = lot.held
  }
  const unhold = (hold: ModelHold, parts: readonly Part[]): void => {
    for (const { lot, amount } of parts) {
      lot.held -= amount
      settleBack(lot, amount)
    }
    hold.status = 'ended'
  }
  const first = (parts: readonly Part[], amount: bigint): { taken: Part[]; rest: Part[] } => {
    let left = amount
    const split = parts.map(({ lot, amount: whole }) => {
      const part = min(left, whole)
      left -= part
      return { lot, part, whole }
    })
    return {
      taken: split.flatMap(({ lot, part }) => (part > 0n ? [{ lot, amount: part }] : [])),
      rest: split.flatMap(({ lot, part, whole }) => (part < whole ? [{ lot, amount: whole - part }] : [])),
    }
  }

  return {
    tick: (moment) => {
      now = moment.getTime()
      for (const hold of holds.values()) {
        if (hold.status !== 'placed' || hold.expires_at > now) continue
        unhold(hold, hold.parts)
        hold.status = 'expired'
      }
      for (const lots of wallets.values()) for (const lot of lots) endLot(lot)
    },
    give: (customer_id, { amount, starts_at, expires_at, ...terms }) =>
      add(customer_id, {
        ...terms,
        remaining: amount,
        starts_at: starts_at?.getTime() ?? now,
        created_at: now,
        expires_at: expires_at?.getTime() ?? Infinity,
      }),
    spend: (customer_id, amount, id) => {
      const parts = choose(customer_id, amount)
      if (parts.length === 0) return false
      take(parts)
      spends.set(id, parts)
      return true
    },
    hold: (customer_id, amount, id, ttl_seconds) => {
      const parts = choose(customer_id, amount)
      if (parts.length === 0) return false
      for (const { lot, amount: part } of parts) lot.held += part
      holds.set(id, { customer_id, parts, amount, expires_at: now + ttl_seconds * 1000, status: 'placed' })
      return true
    },
    capture: (hold_id, amount, spend_id) => {
      const hold = holds.get(hold_id)
      if (!hold || hold.status === 'ended' || amount > hold.amount) return false
      if (hold.status === 'expired') {
        const parts = choose(hold.customer_id, amount)
        take(parts)
        if (parts.length > 0) hold.status = 'ended'
        spends.set(spend_id, parts)
        return parts.length > 0
      }
      const { taken, rest } = first(hold.parts, amount)
      for (const { lot, amount: part } of taken) {
        lot.held -= part
        lot.remaining -= part
      }
      unhold(hold, rest)
      spends.set(spend_id, taken)
      return true
    },
    release: (hold_id) => {
      const hold = holds.get(hold_id)
      if (hold?.status !== 'placed') return false
      unhold(hold, hold.parts)
      return true
    },
    reverse: (spend_id, amount) => {
      const parts = spends.get(spend_id) ?? []
      if (amount > sum(parts)) return false
      const { taken, rest } = first(parts.toReversed(), amount)
      for (const { lot, amount: part } of taken) {
        lot.remaining += part
        settleBack(lot, part)
      }
      spends.set(spend_id, rest.toReversed())
      return true
    },
    revoke: (name, amount) => {
      const lot = [...wallets.values()].flat().find((one) => one.name === name)
      if (!lot) return 0n
      const asked = min(amount, lot.granted - lot.revoked - lot.written_off)
      const taken = min(asked, lot.remaining - lot.held)
      lot.remaining -= taken
      lot.revoked += taken
      lot.written_off += asked - taken
      return taken
    },
    adjust: (customer_id, amount, name) => {
      const terms = { priority: 20, is_paid: false, starts_at: now, expires_at: Infinity, created_at: now }
      if (amount > 0n) add(customer_id, { name, remaining: amount, ...terms })
      const parts = amount > 0n ? [] : choose(customer_id, -amount)
      take(parts)
      return amount > 0n || parts.length > 0
    },
    send: (from, to, amount, name) => {
      const parts = choose(from, amount)
      take(parts)
      for (const [index, { lot, amount: part }] of parts.entries()) {
        add(to, { ...lot, name: `${name}:${index}`, remaining: part })
      }
      return parts.length > 0
    },
    wallet: (customer_id) => {
      const lots = lotsOf(customer_id).filter(({ starts_at }) => starts_at <= now)
      return {
        balance: lots.reduce((total, lot) => total + lot.remaining, 0n),
        held: lots.reduce((total, lot) => total + lot.held, 0n),
      }
    },
    left: (customer_id) =>
      lotsOf(customer_id).flatMap(({ remaining }) => (remaining > 0n ? [remaining] : [])),
  }
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1
}
