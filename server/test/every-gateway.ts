import { randomInt } from 'node:crypto'
import type { Emulator, Faults } from '@kopilka/emulators/emulator'
import type { VendorEvent, VendorPayment } from '@kopilka/extension'
import { introduce, startVendors } from '../src/commands/demo-vendors.ts'
import { storeEvents } from '../src/modules/payments/index.ts'
import { startPeerWorld, type PeerWorld } from './peer-world.ts'
import type { Answer, PlacedOrder } from './world.ts'

export type { VendorEvent, VendorPayment }

/** Made up here, valid nowhere. */
const BOT = '1234567890:every_gateway_bot_token_0123456789'
/**
 * How long a vendor that performs and says nothing holds the line, ms: what must happen before its answer
 * would have come has time to, on a busy machine too.
 */
const HOLD_MS = 5000
export const MINUTES = 1800

export const GATEWAYS = [
  'yookassa',
  'robokassa',
  'rustore',
  'telegram-stars',
  'stripe',
  'paypal',
  'paddle',
  'crypto-pay',
  'sandbox',
] as const
export type GatewayId = (typeof GATEWAYS)[number]
/** Those whose vendor makes something when it is asked for a payment. */
export const MADE_BY_CALL = [
  'yookassa',
  'telegram-stars',
  'stripe',
  'paypal',
  'paddle',
  'crypto-pay',
] as const satisfies readonly GatewayId[]
/** Those with a vendor outside of this process. */
export const OUTSIDE = GATEWAYS.filter((id) => id !== 'sandbox')

/** Keeps which case was tried with which gateway, so that none is left out unseen. */
export interface Cells {
  /** Answers the gateways as they are; `without` says why a case cannot befall the others. */
  of<G extends GatewayId>(
    name: string,
    gateways: readonly G[],
    without?: Partial<Record<GatewayId, string>>,
  ): readonly G[]
  /** Cells of these cases that nobody tried. */
  missing(names: readonly string[]): string[]
}

/** Begins with none tried. */
export function createCells(): Cells {
  const tried = new Set<string>()
  const add = (name: string, gateways: readonly string[]): void => {
    for (const gateway of gateways) tried.add(`${name}: ${gateway}`)
  }
  return {
    of(name, gateways, without = {}) {
      add(name, [...gateways, ...Object.keys(without)])
      return gateways
    },
    missing: (names) =>
      names
        .flatMap((name) => GATEWAYS.map((gateway) => `${name}: ${gateway}`))
        .filter((cell) => !tried.has(cell)),
  }
}

/** Somebody who buys 30 minutes through one gateway. */
export interface Buyer {
  gateway: GatewayId
  customer_id: string
  telegram_id: number
}

export interface Purchase extends Buyer {
  order: PlacedOrder
}

/** A shop with nine gateways, each with its vendor played beside it. */
export interface EveryGateway {
  world: PeerWorld
  vendor(gateway: GatewayId): Emulator
  buyer(gateway: GatewayId): Promise<Buyer>
  /** Asks for an order; the answer may be a refusal. */
  ask(buyer: Buyer, idempotency_key?: string): Promise<Answer<PlacedOrder>>
  buy(gateway: GatewayId): Promise<Purchase>
  /** The buyer opens what he was sent to; answers the vendor's name of what he can pay there. */
  open(purchase: Purchase, more?: object): Promise<string>
  /** What the vendor made for this payment of ours. */
  made(gateway: GatewayId, payment_id: string): { id: string; object: Record<string, unknown> }[]
  pay(buyer: Buyer, vendor_id: string): void
  /** A whole purchase up to the money, told by the vendor or not. */
  paid(gateway: GatewayId, faults?: Partial<Faults>): Promise<Purchase & { vendor_id: string }>
  /** What the server was told to reach this vendor by. */
  settings(gateway: GatewayId): Readonly<Record<string, unknown>>
  /** Notifications of this vendor that were lost, in order. */
  lost(gateway: GatewayId): string[]
  /** Puts events into the inbox, each as its gateway read it, and waits until each was handled or waits. */
  tell(events: readonly (readonly [GatewayId, VendorEvent])[]): Promise<void>
  /** The payment of an order that may not have been answered. */
  paymentOf(buyer: Buyer): Promise<string | undefined>
  close(): Promise<void>
}

/** Starts one. */
export async function startEveryGateway(): Promise<EveryGateway> {
  const vendors = await startVendors(BOT, { hold_ms: HOLD_MS, retry_scale: 0.001 })
  const world = await startPeerWorld(Object.fromEntries(vendors.map(({ id, settings }) => [id, settings])))
  introduce(vendors, world.base_url)
  const emulators = new Map(vendors.map(({ id, emulator }) => [id, emulator]))
  const currencies = new Map(vendors.map(({ id, currency }) => [id, currency]))
  const vendor = (gateway: GatewayId): Emulator => {
    const found = emulators.get(gateway)
    if (!found) throw new Error(`${gateway} has no vendor`)
    return found
  }
  vendor('telegram-stars').control.begin({ messages_per_chat_second: 0, messages_per_second: 0 })
  const prices = new Map<string, Promise<string>>()
  const priceIn = (currency: string): Promise<string> => {
    const found = prices.get(currency) ?? world.price('minutes_30', currency)
    prices.set(currency, found)
    return found
  }
  const lab: Omit<EveryGateway, 'close'> = {
    world,
    vendor,
    buyer: async (gateway) => {
      const telegram_id = randomInt(1_000_000_000, 9_000_000_000)
      const { body } = await world.call<{ id: string }>('POST', '/v1/customers', { telegram_id })
      return { gateway, customer_id: body.id, telegram_id }
    },
    ask: async ({ gateway, customer_id }, key) =>
      world.call<PlacedOrder>(
        'POST',
        '/v1/orders',
        {
          customer_id,
          gateway,
          lines: [{ price_id: await priceIn(currencies.get(gateway) ?? 'RUB'), quantity: 1 }],
          return_url: 'https://shop.example/back',
          receipt_contact: { email: 'buyer@example.com' },
        },
        key === undefined ? {} : { 'idempotency-key': key },
      ),
    buy: async (gateway) => {
      const buyer = await lab.buyer(gateway)
      const { status, body, text } = await lab.ask(buyer)
      if (status !== 201) throw new Error(`${gateway} refused the order: ${text}`)
      return { ...buyer, order: body }
    },
    open: ({ gateway, order }, more = {}) => openAt(gateway, order, vendor, more),
    made: (gateway, payment_id) => madeFor(vendor(gateway), gateway, payment_id),
    pay: ({ gateway, telegram_id }, vendor_id) =>
      void vendor(gateway).control.complete(vendor_id, { outcome: 'succeeded', user_id: telegram_id }),
    paid: async (gateway, faults = {}) => {
      const purchase = await lab.buy(gateway)
      const vendor_id = await lab.open(purchase)
      if (gateway === 'sandbox') await press(purchase.order, 'pay')
      else {
        vendor(gateway).control.faults(faults)
        lab.pay(purchase, vendor_id)
        vendor(gateway).control.faults({ lose: 0, duplicate: 0, reorder: 0, delay_ms: 0 })
      }
      return { ...purchase, vendor_id }
    },
    settings: (gateway) => vendors.find(({ id }) => id === gateway)?.settings ?? {},
    lost: (gateway) =>
      vendor(gateway)
        .control.log({ kind: 'notification', order: 'asc', limit: 1000 })
        .items.filter(({ outcome }) => outcome === 'lost')
        .map(({ notification_id = '' }) => notification_id),
    tell: (events) => tellAll(world, events),
    paymentOf: async ({ customer_id }) => {
      const { rows } = await world.app.db.pool.query<{ id: string }>(
        'select id from payments.payments where customer_id = $1',
        [customer_id],
      )
      return rows[0]?.id
    },
  }
  return {
    ...lab,
    close: async () => {
      await world.close()
      await Promise.all(vendors.map(({ emulator }) => emulator.close()))
    },
  }
}

/** Presses a button of the sandbox's page. */
export async function press(order: PlacedOrder, button: string): Promise<void> {
  const body = new URLSearchParams({ button })
  await fetch(order.payment.checkout_url, { method: 'POST', redirect: 'manual', body })
}

async function tellAll(
  world: PeerWorld,
  events: readonly (readonly [GatewayId, VendorEvent])[],
): Promise<void> {
  const { app } = world
  const received_at = app.payments.clock.now()
  const told = events.map(([gateway, event]) => ({
    gateway,
    external_event_id: event.external_event_id,
    type: event.type,
    trust: event.trust,
    event: JSON.stringify(event, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
    raw_body: Buffer.from('{}'),
    remote_address: '::1',
    received_at,
  }))
  await storeEvents(app.db)(told)
  await app.drain()
  await world.handled()
}

async function openAt(
  gateway: GatewayId,
  { payment, total }: PlacedOrder,
  vendor: EveryGateway['vendor'],
  more: object,
): Promise<string> {
  if (gateway === 'telegram-stars') return payment.checkout_url.split('/').at(-1) ?? ''
  if (gateway === 'robokassa') {
    await (await fetch(payment.checkout_url)).text()
    return payment.external_id
  }
  if (gateway !== 'rustore') return payment.external_id
  const bought = await fetch(`${vendor('rustore').base_url}/sdk/purchases`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      product_code: 'minutes_30',
      amount: total,
      developer_payload: payment.id,
      is_sandbox: true,
      ...more,
    }),
  })
  return ((await bought.json()) as { invoice_id: string }).invoice_id
}

function madeFor(
  { control }: Emulator,
  gateway: GatewayId,
  payment_id: string,
): { id: string; object: Record<string, unknown> }[] {
  const collection = gateway === 'telegram-stars' ? { collection: 'invoices' } : {}
  const items = control.objects({ ...collection, limit: 1000 }).items as Record<string, unknown>[]
  return items
    .filter((object) => JSON.stringify(object).includes(payment_id))
    .map((object) => ({ id: String(object['invoice_id'] ?? object['id']), object }))
}
