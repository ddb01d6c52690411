import { runReconciliation, type Reconciliation } from '../src/modules/payments/index.ts'
import type { GatewayId } from './every-gateway.ts'
import type { World } from './world.ts'

export type { Reconciliation }

const HOUR_MS = 3_600_000

/** The last hour of ours compared with the books of one gateway's vendor, and kept. */
export function compareBooks(
  { world }: { world: World },
  gateway: GatewayId,
): Promise<Reconciliation & { id: string }> {
  const range = { from: new Date(Date.now() - HOUR_MS), to: new Date(Date.now() + HOUR_MS) }
  return runReconciliation(world.app.db, world.app.payments, { gateway, ...range })
}
