import type { Sql } from '#kernel/db'
import { pairId } from '#kernel/ids'
import type { Cursors, Page } from '#kernel/page'
import { findHistoryWallets, findTransfersBefore, type TransferRow } from './queries.ts'
import { slicePartsOf, slicesOf, type Slice } from './slices.ts'
import { accountsOf, type Account, type TransferKind } from './transfer-kinds.ts'

/** One movement in a customer's books. Amounts are in the unit's smallest part. */
export interface Transfer {
  id: string
  unit: string
  kind: TransferKind
  from: Account
  to: Account
  amount: bigint
  /** Of the wallet right after it, held units included. */
  balance: bigint
  held: bigint
  sequence: bigint
  /** Which grants it took from or gave to. */
  slices: Slice[]
  actor_id: string | null
  reason: string | null
  reference: string | null
  metadata: Record<string, unknown> | null
  hold_id: string | null
  /** The transfer it undoes, follows from or answers. */
  related_id: string | null
  created_at: Date
}

/** A wallet's rows that are not shown yet, newest first. */
interface Heap {
  unit: string
  rows: TransferRow[]
  next: number
}

/**
 * A customer's movements, newest first: in each wallet exactly in their order, over wallets by time. What
 * belongs to customers who were merged into him is his history too. Throws InvalidRequest for a foreign
 * cursor.
 */
export async function listTransfers(
  sql: Sql,
  cursors: Cursors,
  filter: { customer_id: string; unit?: string | undefined },
  page: { limit: number; cursor?: string | undefined },
): Promise<Page<Transfer>> {
  const list = `transfers/${filter.customer_id}/${filter.unit ?? ''}`
  const wallets = await findHistoryWallets(sql, filter)
  // The cursor holds, for each wallet that has more, the sequence before which it goes on.
  const position = page.cursor === undefined ? undefined : cursors.open(list, page.cursor).map(String)
  const befores = new Map<bigint, bigint | undefined>()
  for (const { id } of wallets) {
    const at = position?.indexOf(String(id)) ?? -1
    if (position === undefined) befores.set(id, undefined)
    else if (at >= 0 && at % 2 === 0) befores.set(id, BigInt(position[at + 1] ?? 0))
  }
  const rows = await findTransfersBefore(sql, [...befores], page.limit + 1)
  const heaps = wallets.map(({ id, unit }): Heap => ({
    unit,
    rows: rows.filter((row) => row.wallet_id === id),
    next: 0,
  }))
  const items: Transfer[] = []
  while (items.length < page.limit) {
    const heap = newestOf(heaps)
    const row = heap?.rows[heap.next]
    if (!heap || !row) break
    heap.next += 1
    items.push(toTransfer(heap.unit, row))
  }
  const rest = heaps.flatMap(({ rows: own, next }) => {
    const row = own[next]
    return row ? [String(row.wallet_id), String(row.sequence + 1n)] : []
  })
  return { items, next_cursor: rest.length === 0 ? null : cursors.seal(list, rest) }
}

function newestOf(heaps: readonly Heap[]): Heap | undefined {
  let newest: Heap | undefined
  for (const heap of heaps) {
    const row = heap.rows[heap.next]
    const best = newest?.rows[newest.next]
    if (row && (!best || row.created_at > best.created_at)) newest = heap
  }
  return newest
}

function toTransfer(unit: string, row: TransferRow): Transfer {
  const [from, to] = accountsOf(row.kind)
  return {
    id: pairId('tr', row.wallet_id, row.sequence),
    unit,
    kind: row.kind as TransferKind,
    from,
    to,
    amount: row.amount,
    balance: row.balance_after,
    held: row.held_after,
    sequence: row.sequence,
    slices: slicesOf(row.wallet_id, slicePartsOf(row.grant_ids, row.grant_amounts)),
    actor_id: row.actor_id,
    reason: row.reason,
    reference: row.reference,
    metadata: row.metadata as Record<string, unknown> | null,
    hold_id: row.hold_id,
    related_id:
      row.related_sequence === null
        ? null
        : pairId('tr', row.related_wallet_id ?? row.wallet_id, row.related_sequence),
    created_at: row.created_at,
  }
}
