import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openReceiptLab, type ReceiptLab } from '../receipt-lab.ts'
import { SHOP } from '../world-settings.ts'
import type { PlacedOrder } from '../world.ts'

let lab: ReceiptLab
beforeAll(async () => {
  lab = await openReceiptLab()
})
afterAll(() => lab?.close())

const atYookassa = ({ payment }: PlacedOrder) =>
  lab.world.yookassa.control
    .objects({ collection: 'receipts', limit: 200 })
    .items.filter((receipt) => (receipt as { payment_id?: string }).payment_id === payment.external_id)
const modesOf = (receipt: { items: { vat: string; payment_mode: string; payment_subject: string }[] }) =>
  receipt.items.map(({ vat, payment_mode, payment_subject }) => [vat, payment_mode, payment_subject])
const PAID_AHEAD = [['22/122', 'full_prepayment', 'payment']]
const GIVEN = [['22', 'full_payment', 'service']]
const onePage = (query: string) =>
  lab.world.call<{ items: { id: string }[]; next_cursor: string | null }>('GET', `/v1/receipts?${query}`)

describe('minutes that are paid ahead', () => {
  it('get a receipt of the prepayment, and one offset when they are used up', async () => {
    const order = await lab.buy()
    expect(await lab.receipt(order, 'prepayment')).toMatchObject({
      status: 'sent',
      registrar: 'operation',
      amount: 20_000,
      contact: { email: 'buyer@example.com' },
      // 22/122 of 200 roubles.
      items: [{ amount: 20_000, vat_amount: 3607 }],
    })
    await lab.settle()
    const prepayment = await lab.receipt(order, 'prepayment')
    expect(prepayment).toMatchObject({
      status: 'registered',
      fiscal_document: expect.stringMatching(/^\d+$/),
    })
    expect(modesOf(prepayment)).toEqual(PAID_AHEAD)
    // A minute is left: nothing is offset yet.
    await lab.spend(order, 1740)
    await lab.settle()
    expect(await lab.receipts(order)).toHaveLength(1)
    await lab.spend(order, 60)
    await lab.settle()
    const offset = await lab.receipt(order, 'offset')
    expect(offset).toMatchObject({ status: 'registered', registrar: 'apart', amount: 20_000 })
    expect(modesOf(offset)).toEqual(GIVEN)
    await lab.settle()
    expect(atYookassa(order)).toHaveLength(2)
    expect(await lab.findings()).toEqual([])
  })

  it('are offset by what is left when a part of the money went back before', async () => {
    const order = await lab.buy({ product_key: 'minutes_100' })
    await lab.settle()
    await lab.spend(order, 2000)
    const { amount } = await lab.refund(order)
    expect(amount).toBe(33_333)
    await lab.settle()
    const refund = await lab.receipt(order, 'refund')
    expect(refund).toMatchObject({ kind: 'refund', status: 'registered', amount })
    expect(modesOf(refund)).toEqual(PAID_AHEAD)
    expect(await lab.receipt(order, 'offset')).toMatchObject({
      amount: 50_000 - 33_333,
      status: 'registered',
    })
    expect(await lab.findings()).toEqual([])
  })

  it('that were given are given back as a service, to the kopeck', async () => {
    const order = await lab.buy()
    await lab.settle()
    await lab.spend(order, 1800)
    await lab.settle()
    await lab.refund(order, 7001)
    await lab.refund(order, 12_999)
    await lab.settle()
    const refunds = (await lab.receipts(order)).filter(({ purpose }) => purpose === 'refund')
    expect(refunds.map(({ amount, status }) => [amount, status])).toEqual([
      [7001, 'registered'],
      [12_999, 'registered'],
    ])
    for (const refund of refunds) expect(modesOf(refund)).toEqual(GIVEN)
    expect(await lab.findings()).toEqual([])
  })

  it('have no offset when all the money went back', async () => {
    const order = await lab.buy()
    await lab.refund(order)
    await lab.settle()
    expect((await lab.receipts(order)).map(({ purpose }) => purpose)).toEqual(['prepayment', 'refund'])
    expect(await lab.findings()).toEqual([])
  })

  it('count as given after the owner’s number of days, whatever is left', async () => {
    const order = await lab.buy()
    await lab.settle()
    await lab.world.app.db.pool.query(
      `update orders.orders set fulfilled_at = fulfilled_at - interval '364 d' where id = $1`,
      [order.id],
    )
    await lab.settle()
    expect(await lab.receipts(order)).toHaveLength(1)
    await lab.world.app.db.pool.query(
      `update orders.orders set fulfilled_at = fulfilled_at - interval '1 d' where id = $1`,
      [order.id],
    )
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'registered', amount: 20_000 })
  })

  it('through Robokassa have a second receipt, and the first goes with the payment', async () => {
    const order = await lab.buy({ gateway: 'robokassa' })
    await lab.settle()
    // The vendor tells nothing of a first receipt: it stays as sent.
    expect(await lab.receipt(order, 'prepayment')).toMatchObject({ status: 'sent', registrar: 'operation' })
    await lab.spend(order, 1800)
    lab.robokassa.control.settings({ receipt_code: 1 })
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'sent' })
    lab.robokassa.control.settings({ receipt_code: 2 })
    await lab.settle()
    const offset = await lab.receipt(order, 'offset')
    expect(offset).toMatchObject({ status: 'registered', fiscal_document: expect.stringMatching(/^\d+$/) })
    expect(lab.robokassa.control.objects({ collection: 'receipts' }).items).toMatchObject([
      { origin_id: order.payment.external_id, payload: { total: 200, payments: [{ type: 2, sum: 200 }] } },
    ])
    expect(await lab.findings()).toEqual([])
  })
})

describe('a receipt whose outcome is unknown', () => {
  it.each([
    ['the vendor took it and did not answer', { timeout_after_charge: 1 }],
    ['the vendor did not get it', { timeout_before_charge: 1 }],
    ['the vendor took it and answered 500', { error_500: 1 }],
  ])('is registered once: %s', async (_title, faults) => {
    for (const gateway of ['yookassa', 'robokassa'] as const) {
      const order = await lab.buy({ gateway })
      await lab.settle()
      await lab.spend(order, 1800)
      const emulator = gateway === 'yookassa' ? lab.world.yookassa : lab.robokassa
      emulator.control.faults(faults)
      await lab.settle()
      emulator.control.faults({ timeout_after_charge: 0, timeout_before_charge: 0, error_500: 0 })
      await lab.settle()
      expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'registered' })
      const made =
        gateway === 'yookassa'
          ? atYookassa(order).length - 1
          : emulator.control
              .objects({ collection: 'receipts', limit: 200 })
              .items.filter((one) => (one as { origin_id: string }).origin_id === order.payment.external_id)
              .length
      expect([gateway, made]).toEqual([gateway, 1])
    }
    expect(await lab.findings()).toEqual([])
  })

  it('is a person’s after three days, and looked for again when he says so', async () => {
    const order = await lab.buy()
    await lab.settle()
    await lab.spend(order, 1800)
    lab.world.yookassa.control.faults({ error_500: 1000, scope: 'all' })
    await lab.settle()
    const { id } = await lab.receipt(order, 'offset')
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'unknown' })
    await lab.world.app.db.pool.query(
      `update payments.receipts set created_at = created_at - interval '3 d' where id = $1`,
      [id],
    )
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({
      status: 'manual',
      failure_reason: 'no_answer',
    })
    expect((await onePage('status=manual')).body.items.map((one) => one.id)).toContain(id)
    lab.world.yookassa.control.faults({ error_500: 0, scope: 'operations' })
    expect((await lab.world.call('POST', `/v1/receipts/${id}/retry`)).body).toMatchObject({
      status: 'unknown',
    })
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'registered' })
    expect(atYookassa(order)).toHaveLength(2)
  })

  it('is registered once by fifty processes at the same moment', async () => {
    const order = await lab.buy()
    await lab.settle()
    await lab.spend(order, 1800)
    await lab.roundAtOnce(50)
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'registered' })
    expect(atYookassa(order)).toHaveLength(2)
  })
})

describe('a receipt the vendor refuses', () => {
  it('is told, found by verify, and sent again under a new key when a person says so', async () => {
    lab.world.yookassa.control.settings({ receipt_outcome: 'canceled' })
    const order = await lab.buy()
    await lab.settle()
    const failed = await lab.receipt(order, 'prepayment')
    expect(failed).toMatchObject({ status: 'failed', failure_reason: 'canceled' })
    expect(await lab.findings()).toEqual([expect.stringContaining('fiscal_payment_has_its_receipt')])
    lab.world.yookassa.control.settings({ receipt_outcome: 'succeeded' })
    const retried = await lab.world.call('POST', `/v1/receipts/${failed.id}/retry`)
    expect(retried.body).toMatchObject({ status: 'pending', registrar: 'apart' })
    await lab.settle()
    const registered = await lab.receipt(order, 'prepayment')
    expect(registered).toMatchObject({ status: 'registered', amount: 20_000 })
    expect(registered.external_id).not.toBe(failed.external_id)
    const again = await lab.world.call('POST', `/v1/receipts/${failed.id}/retry`)
    expect([again.status, again.body['code']]).toEqual([409, 'invalid_state'])
    expect(await lab.findings()).toEqual([])
  })
})

describe('a receipt no vendor makes', () => {
  const configure = (receipts: boolean) =>
    lab.kit.gateways.configure('yookassa', {
      ...SHOP,
      base_url: `${lab.world.yookassa.base_url}/v3`,
      extra_ips: ['127.0.0.1'],
      receipts,
    })
  const numbers = {
    fiscal_document: '17',
    fiscal_storage: '9287440300090728',
    fiscal_attribute: '3133458701',
  }

  it('is listed for a person, who makes it by hand and records it', async () => {
    configure(false)
    lab.world.yookassa.control.settings({ fiscalization: 'off' })
    const order = await lab.buy()
    configure(true)
    lab.world.yookassa.control.settings({ fiscalization: 'third_party' })
    const manual = await lab.receipt(order, 'prepayment')
    expect(manual).toMatchObject({
      status: 'manual',
      registrar: 'person',
      failure_reason: 'gateway_registers_none',
    })
    expect((await onePage('status=manual')).body.items.map((one) => one.id)).toContain(manual.id)
    // Nothing is sent meanwhile, and no offset goes before what it offsets.
    await lab.spend(order, 1800)
    await lab.settle()
    expect(atYookassa(order)).toEqual([])
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'pending' })
    const record = (body: object) => lab.world.call('POST', `/v1/receipts/${manual.id}/record`, body)
    expect((await record({ ...numbers, fiscal_document: 'x' })).status).toBe(400)
    expect((await record(numbers)).body).toMatchObject({ status: 'registered', fiscal_document: '17' })
    expect((await record(numbers)).status).toBe(200)
    expect((await record({ ...numbers, fiscal_document: '18' })).status).toBe(409)
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'registered' })
    expect(await lab.findings()).toEqual([])
  })

  it('for a buyer who was forgotten has no contact, and is a person’s', async () => {
    const order = await lab.buy()
    await lab.settle()
    const { body } = await lab.world.call('GET', `/v1/orders/${order.id}`)
    const erased = await lab.world.call('POST', `/v1/customers/${String(body['customer_id'])}/erase`, {
      reason: 'asked by letter',
    })
    expect(erased.status).toBe(200)
    expect(await lab.receipt(order, 'prepayment')).toMatchObject({ contact: null, status: 'registered' })
    await lab.world.app.db.pool.query(
      `update orders.orders set fulfilled_at = fulfilled_at - interval '400 d' where id = $1`,
      [order.id],
    )
    await lab.settle()
    const offset = await lab.receipt(order, 'offset')
    expect(offset).toMatchObject({ status: 'manual', failure_reason: 'contact_missing' })
    const retried = await lab.world.call('POST', `/v1/receipts/${offset.id}/retry`)
    expect([retried.status, retried.body['code']]).toEqual([409, 'invalid_state'])
  })
})

describe('the buyer’s contact', () => {
  const order = async (gateway: string, price: string, contact?: object) =>
    lab.world.call<{ code?: string; payment?: { id: string } }>('POST', '/v1/orders', {
      customer_id: await lab.world.customer(),
      gateway,
      lines: [{ price_id: await lab.world.price('minutes_30', price), quantity: 1 }],
      return_url: 'https://shop.example/back',
      ...(contact === undefined ? {} : { receipt_contact: contact }),
    })

  it('is asked for where the owner says that the law applies, and only of roubles', async () => {
    const refused = await order('sandbox', 'RUB')
    expect([refused.status, refused.body.code]).toEqual([400, 'receipt_contact_needed'])
    expect((await order('sandbox', 'USD')).status).toBe(201)
    expect((await order('sandbox', 'RUB', { email: 'no address' })).status).toBe(400)
  })

  it('reaches the vendor as digits, whatever the customer typed', async () => {
    const bought = await lab.buy({ gateway: 'robokassa', contact: { phone: '89001234567' } })
    expect(await lab.receipt(bought, 'prepayment')).toMatchObject({ contact: { phone: '79001234567' } })
  })

  it('is an e-mail where the vendor wants one, and no order or payment is made without', async () => {
    const { control } = lab.world.yookassa
    const made = control.status().counts.objects['payments']
    const refused = await order('yookassa', 'RUB', { phone: '89001234567' })
    expect([refused.status, refused.body.code]).toEqual([400, 'receipt_contact_needed'])
    expect(refused.text).toContain('e-mail')
    expect(control.status().counts.objects['payments']).toBe(made)
  })
})

describe('the routes of receipts', () => {
  it('page through all of them, filter, and know no other', async () => {
    const order = await lab.buy()
    const { id, payment_id } = await lab.receipt(order, 'prepayment')
    const first = await onePage('limit=2')
    expect(first.body.items).toHaveLength(2)
    const second = await onePage(`limit=2&cursor=${first.body.next_cursor}`)
    const ids = [...first.body.items, ...second.body.items].map((one) => one.id)
    expect(new Set(ids).size).toBe(4)
    expect((await onePage(`payment_id=${payment_id}`)).body.items).toMatchObject([{ id }])
    expect((await onePage('status=none')).status).toBe(400)
    expect((await lab.world.call('GET', `/v1/receipts/${id}`)).body).toMatchObject({ id, amount: 20_000 })
    expect((await lab.world.call('GET', '/v1/receipts/rcpt_none')).status).toBe(404)
    expect((await lab.world.call('POST', '/v1/receipts/rcpt_none/retry')).status).toBe(404)
  })

  it('are told to the owner’s app: each that is registered, and each a person has to see to', async () => {
    for (const status of ['registered', 'manual']) {
      const { body } = await onePage(`limit=100&status=${status}`)
      expect(body.items.length).toBeGreaterThan(0)
      for (const { id } of body.items) {
        const type = status === 'registered' ? 'receipt.registered' : 'receipt.failed'
        expect(lab.told.filter((one) => one === `${type} ${id}`)).toHaveLength(1)
      }
    }
  })
})

// The last: the vendor's clock is moved, and what is paid afterwards is paid too late.
describe('a receipt that was taken and not answered a day ago', () => {
  it('is found at the vendor, who has forgotten the key', async () => {
    const order = await lab.buy()
    await lab.settle()
    await lab.spend(order, 1800)
    lab.world.yookassa.control.faults({ error_500: 1 })
    await lab.round()
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'unknown', external_id: null })
    lab.world.yookassa.control.advanceClock(25 * 3_600_000)
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'registered' })
    expect(atYookassa(order)).toHaveLength(2)
  })
})
