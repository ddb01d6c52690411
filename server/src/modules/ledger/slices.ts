import { pairId } from '#kernel/ids'

/** A part of a transfer: how much of which grant, as the database knows it. */
export interface SlicePart {
  id: bigint
  amount: bigint
}

/** A part of a transfer as callers see it. */
export interface Slice {
  grant_id: string
  amount: bigint
}

/** Pairs the two arrays a transfer keeps its slices in. */
export function slicePartsOf(grant_ids: readonly bigint[], grant_amounts: readonly bigint[]): SlicePart[] {
  return grant_ids.map((id, index) => ({ id, amount: grant_amounts[index] ?? 0n }))
}

/** Slices with public ids. */
export function slicesOf(wallet_id: bigint, parts: readonly SlicePart[]): Slice[] {
  return parts.map(({ id, amount }) => ({ grant_id: pairId('gr', wallet_id, id), amount }))
}

/** The sum of the parts. */
export function sumOf(parts: readonly SlicePart[]): bigint {
  return parts.reduce((sum, { amount }) => sum + amount, 0n)
}

/** The first parts that make up `amount`, the last of them cut; all of them when they hold less. */
export function takeFirst(parts: readonly SlicePart[], amount: bigint): SlicePart[] {
  const taken: SlicePart[] = []
  let left = amount
  for (const part of parts) {
    if (left === 0n) break
    const take = part.amount < left ? part.amount : left
    if (take > 0n) taken.push({ id: part.id, amount: take })
    left -= take
  }
  return taken
}

/** What is left of each part when the other parts are taken away; parts that are used up are gone. */
export function without(parts: readonly SlicePart[], taken: readonly SlicePart[]): SlicePart[] {
  const used = new Map<bigint, bigint>()
  for (const { id, amount } of taken) used.set(id, (used.get(id) ?? 0n) + amount)
  return parts.flatMap(({ id, amount }) => {
    const left = amount - (used.get(id) ?? 0n)
    return left > 0n ? [{ id, amount: left }] : []
  })
}
