import type { Clock } from '#kernel/clock'
import { createCoalescer } from '#kernel/coalesce'
import { OperationalError } from '#kernel/errors'
import { compareBurnOrder } from './burn-order.ts'
import { ConnectionLost, openLaneConnection, type LaneConnection } from './lane-connection.ts'
import {
  GRANT_ROWS_MAX,
  readLiveWallets,
  readRows,
  readWallets,
  type ReadGrant,
  type ReadWallet,
} from './reader-queries.ts'

/** A wallet's figures at a moment; exact whether or not the sweeper has come. */
export interface Balance {
  /** Held units included. */
  balance: bigint
  held: bigint
  /** Of the grants shown, in the burn order, at most {@link GRANTS_SHOWN_MAX}. */
  grants: ReadGrant[]
  has_more_grants: boolean
  /** What is owed after a forced refund. */
  debt: bigint
  /** Its owner was merged into another: his units are elsewhere. */
  is_merged: boolean
}

/** Reads balances that are asked for at once in one statement. */
export interface BalanceReader {
  /** Throws OperationalError when the database does not answer. Undefined when there is no such wallet. */
  read(wallet_id: bigint): Promise<Balance | undefined>
  start(): Promise<void>
  stop(): Promise<void>
}

/** Grants a balance shows of one wallet. */
export const GRANTS_SHOWN_MAX = 100
const BATCH_MAX = 256
const STATEMENT_TIMEOUT_MS = 2_000
const ATTEMPTS = 3
const RECONNECT_PAUSE_MS = 100

/** Makes the reader of a process; its connection opens on the first read or on `start`. */
export function createBalanceReader(options: { url: string; clock: Clock }): BalanceReader {
  let connection: LaneConnection | undefined
  const ensureConnection = async (): Promise<LaneConnection> => {
    if (connection && !connection.is_lost) return connection
    connection = await openLaneConnection({
      url: options.url,
      application_name: 'kopilka-balances',
      statement_timeout_ms: STATEMENT_TIMEOUT_MS,
      lock_timeout_ms: STATEMENT_TIMEOUT_MS,
    })
    return connection
  }
  const readAll = async (wallet_ids: readonly bigint[]): Promise<(Balance | undefined)[]> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await readBalances(await ensureConnection(), wallet_ids, options.clock.now())
      } catch (error) {
        const is_world = error instanceof ConnectionLost || connection === undefined || connection.is_lost
        if (!is_world) throw error
        if (attempt >= ATTEMPTS) {
          throw new OperationalError('database_unavailable', 'The database does not answer now.', {
            cause: error,
          })
        }
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_PAUSE_MS))
      }
    }
  }
  const coalescer = createCoalescer<bigint, Balance | undefined>({ flush: readAll, batch_max: BATCH_MAX })
  return {
    read: (wallet_id) => coalescer.add(wallet_id),
    start: async () => {
      await ensureConnection()
    },
    stop: async () => {
      await coalescer.stop()
      await connection?.close()
    },
  }
}

async function readBalances(
  connection: LaneConnection,
  wallet_ids: readonly bigint[],
  now: Date,
): Promise<(Balance | undefined)[]> {
  const asked = [...new Set(wallet_ids)]
  const { wallets, grant_count } = readRows(await connection.run(readWallets(asked, now)))
  const again = [...wallets.values()].filter((wallet) => wallet.is_due || grant_count >= GRANT_ROWS_MAX)
  if (again.length > 0) {
    const query = readLiveWallets(
      again.map((wallet) => wallet.id),
      now,
      GRANTS_SHOWN_MAX + 1,
    )
    for (const [id, wallet] of readRows(await connection.run(query)).wallets) wallets.set(id, wallet)
  }
  const balances = new Map([...wallets].map(([id, wallet]) => [id, balanceOf(wallet)]))
  return wallet_ids.map((id) => balances.get(id))
}

/** What of a wallet is shown, its grants in the burn order. */
export function balanceOf({ balance, held, debt, is_merged, grants }: ReadWallet): Balance {
  const has_more_grants = grants.length > GRANTS_SHOWN_MAX
  const shown = grants.sort(compareBurnOrder)
  return {
    balance,
    held,
    debt,
    is_merged,
    grants: has_more_grants ? shown.slice(0, GRANTS_SHOWN_MAX) : shown,
    has_more_grants,
  }
}
