import type { Clock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { createBalanceReader, type BalanceReader } from './balance-reader.ts'
import { createSpendLanes, type SpendLanes } from './spend-lanes.ts'
import { createWalletDirectory, type WalletDirectory } from './wallet-directory.ts'

/** What the ledger keeps open in a process for its hot paths. */
export interface LedgerKit {
  db: Db
  clock: Clock
  lanes: SpendLanes
  reader: BalanceReader
  directory: WalletDirectory
}

export interface LedgerKitOptions {
  /** Connections that spend; default 1. */
  lanes?: number | undefined
  /** Spends in one commit at most; default 200. */
  batch_max?: number | undefined
}

/** Makes the kit of a process; its connections open when first needed, or by {@link startLedger}. */
export function createLedgerKit(db: Db, clock: Clock, options: LedgerKitOptions = {}): LedgerKit {
  return {
    db,
    clock,
    lanes: createSpendLanes({
      url: db.url,
      clock,
      ...(options.lanes === undefined ? {} : { lanes: options.lanes }),
      ...(options.batch_max === undefined ? {} : { batch_max: options.batch_max }),
    }),
    reader: createBalanceReader({ url: db.url, clock }),
    directory: createWalletDirectory(db),
  }
}

/** Opens the hot connections, so that the first request need not wait for them. */
export async function startLedger(kit: LedgerKit): Promise<void> {
  await Promise.all([kit.lanes.start(), kit.reader.start()])
}

/** Finishes what is under way and closes the hot connections. */
export async function stopLedger(kit: LedgerKit): Promise<void> {
  await Promise.all([kit.lanes.stop(), kit.reader.stop()])
}
