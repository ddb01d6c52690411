import type { Clock } from '#kernel/clock'
import type { Sql, Tx } from '#kernel/db'
import { InvalidRequest } from '#kernel/errors'
import { digestInput, IdempotencyKeyReused } from '#kernel/idempotency'
import { newId } from '#kernel/ids'
import { readWallet, spendWithin } from '#modules/ledger'
import * as queries from './queries.ts'
import type { MeterEventRow, MeterRow, RateCardRow, SessionRow } from './queries.ts'
import { DEFAULT_MODE } from './rate-cards.ts'
import { billableMs, costNano, partsOf, sessionBillableMs } from './rating.ts'

export interface NewMeterEvent {
  customer_id: string
  meter: string
  /** The caller's name of this one use; the same name again is the same use. */
  event_id: string
  duration_ms: bigint
  channels: number
  provider?: string | undefined
  mode?: string | undefined
  /** Pieces with one session are rounded as a whole, where the meter says so. */
  session_id?: string | undefined
  occurred_at?: Date | undefined
  actor_id: string
}

/** What a use costs: what the customer pays in units, and what the provider charges us. */
export interface Quote {
  meter: string
  unit: string
  billable_ms: bigint
  amount: bigint
  rate_card_id: string | null
  cost_nano: bigint | null
  cost_currency: string | null
}

/**
 * Records one use and takes its units, in the caller's transaction: both or neither. The same event again
 * answers what it answered first. Throws InsufficientFunds, InvalidRequest for an unknown meter, and
 * {@link IdempotencyKeyReused} when the event's name comes with other facts.
 */
export async function recordMeterEvent(tx: Tx, clock: Clock, input: NewMeterEvent): Promise<MeterEventRow> {
  const meter = await getMeter(tx, input.meter)
  await queries.lockEventName(tx, input)
  const { actor_id: _actor, ...facts } = input
  const input_digest = digestInput(facts)
  const known = await queries.findEvent(tx, input)
  if (known) return sameEvent(known, input_digest)
  const now = clock.now()
  const session = await sessionFor(tx, meter, input, now)
  const quote = await quoteOf(tx, meter, session, input, now)
  const spend =
    quote.amount === 0n
      ? undefined
      : await spendWithin(tx, clock, {
          customer_id: input.customer_id,
          unit: meter.unit,
          amount: quote.amount,
          actor_id: input.actor_id,
          idempotency_key: `meter:${input.meter}:${input.event_id}`,
          reason: `meter ${meter.code}`,
          reference: input.event_id.slice(0, 200),
        })
  // A use that costs nothing leaves what there was.
  const balance_after =
    spend?.balance ??
    (await readWallet(tx, clock, { customer_id: input.customer_id, unit: meter.unit })).balance
  if (session) await keepSession(tx, session, input, quote, now)
  const event: MeterEventRow = {
    id: newId('mev', now.getTime()),
    event_id: input.event_id,
    customer_id: input.customer_id,
    meter: meter.code,
    provider: input.provider ?? null,
    mode: input.provider === undefined ? null : modeOf(input),
    session_id: input.session_id ?? null,
    duration_ms: input.duration_ms,
    channels: input.channels,
    billable_ms: quote.billable_ms,
    amount: quote.amount,
    unit: meter.unit,
    spend_id: spend?.id ?? null,
    slices: (spend?.slices ?? []).map((slice) => ({
      grant_id: slice.grant_id,
      amount: Number(slice.amount),
    })),
    balance_after,
    rate_card_id: quote.rate_card_id,
    cost_nano: quote.cost_nano,
    cost_currency: quote.cost_currency,
    occurred_at: input.occurred_at ?? now,
    created_at: now,
    input_digest,
  }
  await queries.insertEvent(tx, event)
  return event
}

/** What a use would cost now; changes nothing. Throws InvalidRequest for an unknown meter. */
export async function quoteMeterEvent(sql: Sql, clock: Clock, input: NewMeterEvent): Promise<Quote> {
  const meter = await getMeter(sql, input.meter)
  const session =
    meter.round_per === 'session' && input.session_id !== undefined
      ? await queries.findSession(sql, { ...input, session_id: input.session_id })
      : undefined
  return quoteOf(sql, meter, session, input, clock.now())
}

async function getMeter(sql: Sql, code: string): Promise<MeterRow> {
  const meter = await queries.findMeter(sql, code)
  if (!meter || !meter.is_active)
    throw new InvalidRequest([{ pointer: '/meter', detail: `there is no meter ${code}` }])
  return meter
}

async function sessionFor(
  tx: Tx,
  meter: MeterRow,
  input: NewMeterEvent,
  now: Date,
): Promise<SessionRow | undefined> {
  if (meter.round_per !== 'session' || input.session_id === undefined) return undefined
  const session = await queries.lockSession(
    tx,
    {
      customer_id: input.customer_id,
      meter: meter.code,
      session_id: input.session_id,
      channels: input.channels,
    },
    now,
  )
  if (session.channels !== input.channels) {
    throw new InvalidRequest([{ pointer: '/channels', detail: `the session has ${session.channels}` }])
  }
  return session
}

async function quoteOf(
  sql: Sql,
  meter: MeterRow,
  session: SessionRow | undefined,
  input: NewMeterEvent,
  now: Date,
): Promise<Quote> {
  const billable_ms = session
    ? sessionBillableMs(meter, session, input.duration_ms, input.channels)
    : billableMs(meter, input.duration_ms, input.channels)
  const card =
    input.provider === undefined
      ? undefined
      : await queries.findRateCard(sql, input.provider, modeOf(input), input.occurred_at ?? now)
  return {
    meter: meter.code,
    unit: meter.unit,
    billable_ms,
    amount: partsOf(billable_ms, meter.part_ms),
    rate_card_id: card?.id ?? null,
    cost_nano: card ? cost(card, input) : null,
    cost_currency: card?.currency ?? null,
  }
}

/** What the provider charges for this request; providers round each request, whatever we do. */
function cost(card: RateCardRow, input: NewMeterEvent): bigint {
  return costNano(
    billableMs(card, input.duration_ms, input.channels),
    card.increment_ms,
    card.nano_per_increment,
  )
}

async function keepSession(
  tx: Tx,
  session: SessionRow,
  input: NewMeterEvent,
  quote: Quote,
  now: Date,
): Promise<void> {
  await queries.updateSession(tx, {
    ...session,
    duration_ms: session.duration_ms + input.duration_ms,
    billed_ms: session.billed_ms + quote.billable_ms,
    updated_at: now,
  })
}

function sameEvent(known: MeterEventRow, input_digest: Buffer): MeterEventRow {
  if (known.input_digest.equals(input_digest)) return known
  throw new IdempotencyKeyReused(
    `The event ${known.event_id} was recorded with other facts; nothing was changed.`,
  )
}

function modeOf(input: NewMeterEvent): string {
  return input.mode ?? DEFAULT_MODE[input.provider ?? ''] ?? 'default'
}
