import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  GATEWAYS,
  startEveryGateway,
  type EveryGateway,
  type GatewayId,
  type Purchase,
} from '../every-gateway.ts'
import { newId } from '../gateway-contract.ts'
import { sandboxWord } from '../peer-world.ts'

/**
 * Authentic is not yet right, at every gateway: the vendor itself, by its own signature or in its own books,
 * says that a payment was made, and one thing in what it says is wrong.
 */

const SLOW_MS = 90_000
const ASPECTS = ['amount', 'currency', 'receiver', 'order', 'payment', 'nobody', 'gateway', 'mode'] as const
type Aspect = (typeof ASPECTS)[number]
type Fields = Record<string, unknown>

/** What a wrong word names instead. */
interface Others {
  order_id: string
  /** A payment through the same gateway, and one through another. */
  payment_id: string
  foreign_payment_id: string
  /** A payment that nobody has. */
  nobodys_payment_id: string
}

interface Wrong {
  /** Changes what the vendor holds of this payment; done before it is paid and after. */
  spoil?: (objects: Fields[], others: Others) => void
  /** Changes the vendor itself while it tells. */
  settings?: Fields
  /** What we tell in the vendor's name, with its proof, of a payment that nobody made. */
  tell?: (purchase: Purchase) => Promise<void>
  /** Why it is set aside; absent where it is not about this payment at all, and refused. */
  mismatch?: string
}

/** Why there is nothing of this kind in the vendor's word that could be wrong. */
interface Untold {
  is_not_told: string
}

let lab: EveryGateway
let others: Record<GatewayId, Others>
beforeAll(async () => {
  lab = await startEveryGateway()
  const bought = await Promise.all(GATEWAYS.map((gateway) => lab.buy(gateway)))
  others = Object.fromEntries(
    bought.map(({ gateway, order }, place) => [
      gateway,
      {
        order_id: order.id,
        payment_id: order.payment.id,
        foreign_payment_id: bought.at(place - 1)?.order.payment.id,
        nobodys_payment_id: newId('pay'),
      },
    ]),
  ) as Record<GatewayId, Others>
}, SLOW_MS)
afterAll(() => lab?.close())

/** Sets a value deep in every object that has a place for it. */
function put(objects: readonly Fields[], place: string, value: unknown): void {
  const names = place.split('.')
  const last = names.pop() ?? ''
  for (const object of objects) {
    const holder = names.reduce<unknown>((at, name) => (at as Fields | undefined)?.[name], object)
    if (typeof holder === 'object' && holder !== null && last in holder) (holder as Fields)[last] = value
  }
}

const spoiled = (places: Record<string, unknown>, mismatch?: string): Wrong => ({
  spoil: (objects) => {
    for (const [place, value] of Object.entries(places)) put(objects, place, value)
  },
  ...(mismatch === undefined ? {} : { mismatch }),
})

const named = (name: (others: Others) => [place: string, value: string], mismatch?: string): Wrong => ({
  spoil: (objects, other) => put(objects, ...name(other)),
  ...(mismatch === undefined ? {} : { mismatch }),
})

/** Our ids as one vendor carries them. */
const idsAt = (payment: string, order: string): Pick<Row, 'order' | 'payment' | 'nobody' | 'gateway'> => ({
  order: named(({ order_id }) => [order, order_id], 'wrong_order'),
  payment: named(({ payment_id }) => [payment, payment_id]),
  nobody: named(({ nobodys_payment_id }) => [payment, nobodys_payment_id]),
  gateway: named(({ foreign_payment_id }) => [payment, foreign_payment_id]),
})

type Row = Record<Aspect, Wrong | Untold>

async function tellSandbox(purchase: Purchase, change: Fields): Promise<void> {
  const { body, headers } = await sandboxWord(lab.world, purchase.order, change)
  expect((await lab.world.tell('sandbox', body, headers)).status).toBe(200)
}

const ofSandbox = (change: (other: Others) => Fields, mismatch?: string): Wrong => ({
  tell: (purchase) => tellSandbox(purchase, change(others.sandbox)),
  ...(mismatch === undefined ? {} : { mismatch }),
})

/** An update under the bot's own secret about an invoice that nobody paid. */
async function tellStars(purchase: Purchase, change: Fields): Promise<void> {
  const vendor_id = await lab.open(purchase)
  const invoices = lab.vendor('telegram-stars').control.objects({ collection: 'invoices', limit: 1000 })
  const invoice = (invoices.items as Fields[]).find(({ id }) => id === vendor_id)
  const body = {
    update_id: 1,
    message: {
      message_id: 1,
      date: Math.floor(Date.now() / 1000),
      chat: { id: purchase.telegram_id, type: 'private' },
      from: { id: purchase.telegram_id },
      successful_payment: {
        currency: 'XTR',
        total_amount: purchase.order.total,
        invoice_payload: invoice?.['payload'],
        telegram_payment_charge_id: `stx-of-${purchase.order.id}`,
        ...change,
      },
    },
  }
  const secret = String(lab.settings('telegram-stars')['secret_token'])
  const headers = { 'x-telegram-bot-api-secret-token': secret }
  expect((await lab.world.tell('telegram-stars', JSON.stringify(body), headers)).status).toBe(200)
}

/** Every gateway, and everything that can be wrong in a word of its vendor: no cell may be missing. */
const MATRIX: Record<GatewayId, Row> = {
  yookassa: {
    amount: spoiled({ 'amount.value': '1.00' }, 'wrong_amount'),
    currency: spoiled({ 'amount.currency': 'USD' }, 'wrong_currency'),
    receiver: spoiled({ 'recipient.account_id': '999999' }, 'wrong_receiver'),
    ...idsAt('metadata.payment_id', 'metadata.order_id'),
    mode: spoiled({ test: false }),
  },
  robokassa: {
    amount: spoiled({ amount: 100 }, 'wrong_amount'),
    currency: { is_not_told: 'It sells for roubles only, and the form has no field of it.' },
    receiver: { is_not_told: 'The form names no shop: the second password is the shop’s own.' },
    ...idsAt('shp.Shp_payment', 'shp.Shp_order'),
    mode: spoiled({ is_test: true }),
  },
  rustore: {
    amount: spoiled({ amount: 100 }, 'wrong_amount'),
    currency: spoiled({ currency: 'USD' }, 'wrong_currency'),
    receiver: { settings: { app_id: '99999' } },
    order: named(({ order_id }) => ['order_id', order_id], 'wrong_order'),
    payment: { is_not_told: 'What the app passes on is the payment’s only name: another is another’s.' },
    nobody: named(({ nobodys_payment_id }) => ['developer_payload', nobodys_payment_id]),
    gateway: named(({ foreign_payment_id }) => ['developer_payload', foreign_payment_id]),
    mode: spoiled({ is_sandbox: false }),
  },
  'telegram-stars': {
    amount: spoiled({ amount: 1 }, 'wrong_amount'),
    currency: { tell: (purchase) => tellStars(purchase, { currency: 'USD' }) },
    receiver: { is_not_told: 'An update names no bot: the secret token is the bot’s own.' },
    order: { is_not_told: 'An invoice carries the payment alone, and our signature over it.' },
    payment: named(({ payment_id }) => ['payload', payment_id]),
    nobody: named(({ nobodys_payment_id }) => ['payload', nobodys_payment_id]),
    gateway: named(({ foreign_payment_id }) => ['payload', foreign_payment_id]),
    mode: { is_not_told: 'The test environment is another address with other tokens.' },
  },
  stripe: {
    amount: spoiled({ amount_total: 100, amount: 100, amount_received: 100 }, 'wrong_amount'),
    currency: spoiled({ currency: 'eur' }, 'wrong_currency'),
    receiver: { is_not_told: 'A key reads its own account’s objects, which do not name it.' },
    ...idsAt('metadata.payment_id', 'metadata.order_id'),
    mode: spoiled({ livemode: true }),
  },
  paypal: {
    amount: spoiled({ 'purchase_units.0.amount.value': '1.00' }, 'wrong_amount'),
    currency: spoiled({ 'purchase_units.0.amount.currency_code': 'EUR' }, 'wrong_currency'),
    receiver: spoiled({ 'purchase_units.0.payee.merchant_id': 'SOMEBODYELSE1' }, 'wrong_receiver'),
    order: named(({ order_id }) => ['purchase_units.0.invoice_id', `${order_id}-1`], 'wrong_order'),
    payment: named(({ payment_id }) => ['purchase_units.0.custom_id', payment_id]),
    nobody: named(({ nobodys_payment_id }) => ['purchase_units.0.custom_id', nobodys_payment_id]),
    gateway: named(({ foreign_payment_id }) => ['purchase_units.0.custom_id', foreign_payment_id]),
    mode: { is_not_told: 'Orders do not say it: the sandbox has an address and certificates of its own.' },
  },
  paddle: {
    amount: spoiled({ 'details.totals.total': '100', 'details.totals.grand_total': '100' }, 'wrong_amount'),
    currency: spoiled({ currency_code: 'EUR' }, 'wrong_currency'),
    receiver: { is_not_told: 'A key reads its own account’s transactions, which do not name it.' },
    ...idsAt('custom_data.payment_id', 'custom_data.order_id'),
    mode: { is_not_told: 'Transactions do not say it: the sandbox has keys of its own.' },
  },
  'crypto-pay': {
    amount: spoiled({ amount: '1' }, 'wrong_amount'),
    currency: spoiled({ fiat: 'EUR' }, 'wrong_currency'),
    receiver: { is_not_told: 'A token reads its own app’s invoices, which do not name it.' },
    order: {
      spoil: (objects, { order_id }) => {
        for (const object of objects) object['payload'] = `${ownId(object)} ${order_id}`
      },
      mismatch: 'wrong_order',
    },
    payment: named(({ payment_id, order_id }) => ['payload', `${payment_id} ${order_id}`]),
    nobody: named(({ nobodys_payment_id, order_id }) => ['payload', `${nobodys_payment_id} ${order_id}`]),
    gateway: named(({ foreign_payment_id, order_id }) => ['payload', `${foreign_payment_id} ${order_id}`]),
    mode: { is_not_told: 'Invoices do not say it: the test network has an address and tokens of its own.' },
  },
  sandbox: {
    amount: ofSandbox(() => ({ amount: '100' }), 'wrong_amount'),
    currency: ofSandbox(() => ({ currency: 'USD' }), 'wrong_currency'),
    receiver: { is_not_told: 'It is this installation itself.' },
    order: ofSandbox(({ order_id }) => ({ order_id }), 'wrong_order'),
    payment: ofSandbox(({ payment_id }) => ({ payment_id })),
    nobody: ofSandbox(({ nobodys_payment_id }) => ({ payment_id: nobodys_payment_id })),
    gateway: ofSandbox(({ foreign_payment_id }) => ({ payment_id: foreign_payment_id })),
    mode: { is_not_told: 'It knows test payments only.' },
  },
}

function ownId(invoice: Fields): string {
  return String(invoice['payload']).split(' ')[0] ?? ''
}

/** Everything that holds units or says that somebody gets them. */
async function granted(): Promise<string> {
  const tables = ['ledger.wallets', 'ledger.grants', 'ledger.transfers', 'ledger.holds', 'payments.refunds']
  const parts = [...tables, 'orders.fulfilments', 'orders.orders'].map(
    (table) => `select '${table}' as part, coalesce(md5(string_agg(t::text, '' order by t::text)), '') as sum
                  from ${table} t`,
  )
  const { rows } = await lab.world.app.db.pool.query(`${parts.join(' union all ')} order by 1`)
  return JSON.stringify(rows)
}

/** What the vendor holds of this payment, in all its collections; the objects themselves, not copies. */
function heldBy(gateway: GatewayId, vendor_id: string, payment_id: string): Fields[] {
  const { control } = lab.vendor(gateway)
  const collections = Object.keys(control.status().counts.objects)
  return collections.flatMap((collection) => {
    const items = control.objects({ collection, limit: 1000 }).items as Fields[]
    return items.filter(
      (item) =>
        String(item['id'] ?? item['invoice_id']) === vendor_id || JSON.stringify(item).includes(payment_id),
    )
  })
}

/** The buyer pays what is wrong by then, and the vendor tells of it. */
async function payWrongly(purchase: Purchase, { spoil, settings }: Wrong): Promise<void> {
  const { gateway, order } = purchase
  const { control } = lab.vendor(gateway)
  const vendor_id = await lab.open(purchase)
  const held = heldBy(gateway, vendor_id, order.payment.id)
  expect(held.length).toBeGreaterThan(0)
  spoil?.(held, others[gateway])
  const kept = Object.fromEntries(
    Object.keys(settings ?? {}).map((name) => [name, control.status().settings[name]]),
  )
  control.settings(settings ?? {})
  const seen = control.status().counts.notifications.attempts
  lab.pay(purchase, vendor_id)
  const more = heldBy(gateway, vendor_id, order.payment.id).filter((object) => !held.includes(object))
  spoil?.([...held, ...more], others[gateway])
  control.settings(kept)
  await lab.world.eventually('it was told', async () => control.status().counts.notifications.attempts > seen)
}

/** A payment that another one's money was said to be for is at most set aside: it took nothing. */
async function expectNamedUntouched(gateway: GatewayId): Promise<void> {
  const { payment_id, order_id } = others[gateway]
  const named = await lab.world.payment(payment_id)
  expect(named).toMatchObject({ captured_amount: 0 })
  expect(['pending', 'mismatch']).toContain(named.status)
  expect(await lab.world.grants(order_id)).toBe(0)
}

/** How a vendor's wrong word ends: no part of the books knows of it, or it waits there for a person. */
const ENDS = ['refused', 'kept for a person'] as const
const WAVES = ASPECTS.flatMap((aspect) =>
  ENDS.flatMap((end) => {
    const told = GATEWAYS.flatMap((gateway) => {
      const wrong = MATRIX[gateway][aspect]
      if ('is_not_told' in wrong) return []
      const is_kept = wrong.mismatch !== undefined
      return is_kept === (end === 'kept for a person') ? [[gateway, wrong] as const] : []
    })
    return told.length === 0 ? [] : [[aspect, end, told] as const]
  }),
)

// All vendors say it at the same moment: each has its own books, and one purchase in them to be wrong about.
describe.each(WAVES)(
  'a payment that is said to be made with a wrong %s, which is %s',
  (aspect, end, told) => {
    let purchases: Map<GatewayId, Purchase>
    const state = async () => ({ digest: await lab.world.digest(), granted: await granted() })
    let before: Awaited<ReturnType<typeof state>>
    let after: typeof before
    const purchaseOf = (gateway: GatewayId): Purchase => {
      const found = purchases.get(gateway)
      if (!found) throw new Error('nobody bought')
      return found
    }

    beforeAll(async () => {
      purchases = new Map(
        await Promise.all(told.map(async ([gateway]) => [gateway, await lab.buy(gateway)] as const)),
      )
      before = await state()
      await Promise.all(
        told.map(async ([gateway, wrong]) => {
          const purchase = purchaseOf(gateway)
          await (wrong.tell ? wrong.tell(purchase) : payWrongly(purchase, wrong))
        }),
      )
      await lab.world.handled()
      for (const { order } of purchases.values()) await lab.world.look(order.payment.id)
      after = await state()
    }, SLOW_MS)

    it.each(told)('buys nothing through %s', async (gateway, wrong) => {
      const { order, customer_id } = purchaseOf(gateway)
      expect(await lab.world.payment(order.payment.id)).toMatchObject(
        wrong.mismatch === undefined
          ? { status: 'pending', captured_amount: 0 }
          : { status: 'mismatch', mismatch_reason: wrong.mismatch },
      )
      if (aspect === 'payment') await expectNamedUntouched(gateway)
      expect(await lab.world.balance(customer_id)).toBe(0)
      expect((await lab.world.call('GET', `/v1/orders/${order.id}`)).body['status']).toBe('open')
    })

    it('gives nothing to anybody, and changes nothing where it is refused', () => {
      expect(after.granted).toBe(before.granted)
      if (end === 'refused' && aspect !== 'payment') expect(after.digest).toBe(before.digest)
    })
  },
)

it('leaves the books right after all of this', async () => {
  expect(await lab.world.booksAreClean()).toEqual([])
})
