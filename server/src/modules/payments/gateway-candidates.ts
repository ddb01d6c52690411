import type { Sql } from '#kernel/db'
import { OperationalError } from '#kernel/errors'
import { GatewayNotAvailable } from './errors.ts'
import { chooseGateways, type Candidate, type Choice, type Wish } from './gateway-choice.ts'
import type { ReadyGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import { findLastUsedGateway, type PaymentRow } from './payment-queries.ts'
import { isFiscal } from './receipt-abilities.ts'

/** An order that needs a gateway. */
type GatewayWish = Omit<Wish, 'mode' | 'last_used'> & { customer_id: string }

/**
 * The gateways whose vendors are known not to answer. Begins the probes that are due, and waits only for that
 * of the gateway somebody asked for by name. Asks the world: never inside a transaction.
 */
export async function downGateways(kit: PaymentsKit, named?: string): Promise<ReadonlySet<string>> {
  const { gateways } = kit
  const looks = gateways.list().map(async (ready) => {
    const { id } = ready.gateway
    const is_up = await gateways.health.isUp(ready, gateways.context(id), { waits: id === named })
    return is_up ? [] : [id]
  })
  return new Set((await Promise.all(looks)).flat())
}

/** Ranks the gateways that can collect an order, the best first; see {@link chooseGateways}. */
export async function rankGateways(
  sql: Sql,
  kit: PaymentsKit,
  { customer_id, ...wish }: GatewayWish,
  down: ReadonlySet<string>,
): Promise<Choice> {
  const last_used = await findLastUsedGateway(sql, customer_id)
  const { list, rules, mode } = kit.gateways
  const candidates = list().map((ready) => toCandidate(kit, ready, wish.currency, down))
  return chooseGateways(candidates, rules, { ...wish, mode, last_used })
}

/**
 * The best gateway for an order. Throws {@link GatewayNotAvailable} when none can take it, OperationalError
 * `gateway_unavailable` when all that can are down.
 */
export async function chooseGateway(
  sql: Sql,
  kit: PaymentsKit,
  wish: GatewayWish,
  down: ReadonlySet<string>,
): Promise<string> {
  const { gateways, refused } = await rankGateways(sql, kit, wish, down)
  const [best] = gateways
  if (best !== undefined) return best
  if (refused.some(({ reason }) => reason === 'down')) throw allDown(refused)
  const reasons = refused.map(({ gateway, reason }) => `${gateway} (${reason})`).join(', ')
  throw new GatewayNotAvailable(
    `No gateway that is set up can take this order in ${wish.currency}: ${reasons || 'none is set up'}.`,
    { refused },
  )
}

/** Throws OperationalError `gateway_unavailable` for a gateway that is down; names who could be asked. */
export async function refuseDown(
  sql: Sql,
  kit: PaymentsKit,
  { gateway, ...wish }: GatewayWish & { gateway: string },
  down: ReadonlySet<string>,
): Promise<void> {
  if (!down.has(gateway)) return
  const alternatives = (await rankGateways(sql, kit, wish, down)).gateways
  throw new OperationalError('gateway_unavailable', `The gateway ${gateway} does not answer; ${NOTHING}`, {
    retry_after_seconds: RETRY_SECONDS,
    facts: { is_nothing_made: true, alternatives },
  })
}

/** What a payment asks of whoever collects the same order instead. */
export function wishOf(payment: PaymentRow, tried: readonly string[]): GatewayWish {
  return {
    customer_id: payment.customer_id,
    currency: payment.currency,
    has_receipt_contact: payment.receipt !== null,
    has_telegram_id: payment.telegram_id !== null,
    is_held: !payment.may_capture_now,
    tried,
  }
}

const RETRY_SECONDS = 5
const NOTHING = 'nothing was made there.'

function allDown(refused: Choice['refused']): OperationalError {
  const down = refused.filter(({ reason }) => reason === 'down').map(({ gateway }) => gateway)
  const detail = `Every gateway that can take this order is down (${down.join(', ')}); ${NOTHING}`
  const facts = { is_nothing_made: true, alternatives: [] }
  return new OperationalError('gateway_unavailable', detail, { retry_after_seconds: RETRY_SECONDS, facts })
}

function toCandidate(
  kit: PaymentsKit,
  ready: ReadyGateway,
  currency: string,
  down: ReadonlySet<string>,
): Candidate {
  const { gateway, is_test, position } = ready
  const { id, currencies, needs } = gateway
  return {
    id,
    is_test,
    currencies,
    position,
    needs_receipt_contact: isFiscal(kit, ready, { currency, has_receipt: false }),
    needs_telegram_id: needs?.telegram_id === true,
    may_hold: gateway.capturePayment !== undefined,
    is_down: down.has(id),
  }
}
