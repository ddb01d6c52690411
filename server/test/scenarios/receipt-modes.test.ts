import { afterEach, describe, expect, it } from 'vitest'
import { openReceiptLab, type ReceiptLab } from '../receipt-lab.ts'

let lab: ReceiptLab
afterEach(() => lab?.close())

const modesOf = (receipts: { purpose: string; status: string; amount: number }[]) =>
  receipts.map(({ purpose, status, amount }) => [purpose, status, amount])

describe('how the owner has receipts written', () => {
  it('at the grant: the offset follows the prepayment, never before it', async () => {
    lab = await openReceiptLab({ offset: 'grant' })
    lab.world.yookassa.control.settings({ receipt_outcome: 'canceled' })
    const order = await lab.buy()
    await lab.settle()
    // What is to be offset is not registered: the offset waits for it.
    expect(modesOf(await lab.receipts(order))).toEqual([
      ['prepayment', 'failed', 20_000],
      ['offset', 'pending', 20_000],
    ])
    lab.world.yookassa.control.settings({ receipt_outcome: 'succeeded' })
    const { id } = await lab.receipt(order, 'prepayment')
    expect((await lab.world.call('POST', `/v1/receipts/${id}/retry`)).status).toBe(200)
    await lab.settle()
    expect(modesOf(await lab.receipts(order))).toEqual([
      ['prepayment', 'registered', 20_000],
      ['offset', 'registered', 20_000],
    ])
    expect(await lab.findings()).toEqual([])
  })

  it('full payment: one receipt of the payment, one of each refund, and no offset', async () => {
    lab = await openReceiptLab({ payment_mode: 'full_payment', vat: '20' })
    const order = await lab.buy({ product_key: 'minutes_100' })
    await lab.refund(order, 7)
    await lab.refund(order)
    await lab.settle()
    const receipts = await lab.receipts(order)
    expect(modesOf(receipts)).toEqual([
      ['full', 'registered', 50_000],
      ['refund', 'registered', 7],
      ['refund', 'registered', receipts[2]?.amount],
    ])
    for (const { items } of receipts) {
      expect(items).toMatchObject([{ vat: '20', payment_mode: 'full_payment', payment_subject: 'service' }])
    }
    expect(await lab.findings()).toEqual([])
  })

  it('a refund the vendor refuses has no receipt, and its lines stay to be refunded', async () => {
    lab = await openReceiptLab({ payment_mode: 'full_payment' })
    const order = await lab.buy()
    lab.world.yookassa.control.settings({ refund_outcome: 'insufficient_funds' })
    expect(await lab.refund(order)).toMatchObject({ status: 'failed' })
    lab.world.yookassa.control.settings({ refund_outcome: 'succeeded' })
    expect(await lab.refund(order)).toMatchObject({ status: 'succeeded', amount: 20_000 })
    await lab.settle()
    expect(modesOf(await lab.receipts(order))).toEqual([
      ['full', 'registered', 20_000],
      ['refund', 'registered', 20_000],
    ])
    expect(await lab.findings()).toEqual([])
  })

  it('a refund made in the vendor’s cabinet is looked for there, else it is a person’s', async () => {
    lab = await openReceiptLab({ payment_mode: 'full_payment' })
    const order = await lab.buy()
    const { yookassa } = lab.world
    yookassa.control.settings({ fiscalization: 'off' })
    const shop = Buffer.from('100500:test_kopilka_world_secret_key').toString('base64')
    const made = await fetch(`${yookassa.base_url}/v3/refunds`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${shop}`,
        'content-type': 'application/json',
        'idempotence-key': 'made-in-the-cabinet',
      },
      body: JSON.stringify({
        payment_id: order.payment.external_id,
        amount: { value: '50.00', currency: 'RUB' },
      }),
    })
    expect(made.status).toBe(200)
    await lab.world.eventually('the refund is known', async () => {
      await lab.world.app.drain()
      return (await lab.receipts(order)).length === 2
    })
    await lab.settle()
    expect(await lab.receipt(order, 'refund')).toMatchObject({ status: 'sent', amount: 5000 })
    // Of a real shop a person is called after three days.
    await lab.world.app.db.pool.query(
      "update payments.receipts set is_test = false, created_at = created_at - interval '3 d'",
    )
    await lab.settle()
    expect(await lab.receipt(order, 'refund')).toMatchObject({
      status: 'manual',
      failure_reason: 'not_found_at_vendor',
    })
    expect(await lab.findings()).toEqual([])
  })

  it('a vendor that says it did nothing is asked again, without anything being unknown', async () => {
    lab = await openReceiptLab({ offset: 'grant' })
    const order = await lab.buy()
    // Receipts are switched off in the cabinet: those that are there can be read, a new one is 403.
    lab.world.yookassa.control.settings({ fiscalization: 'off' })
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({
      status: 'pending',
      failure_reason: expect.stringContaining('forbidden'),
    })
    lab.world.yookassa.control.settings({ fiscalization: 'third_party' })
    await lab.settle()
    expect(await lab.receipt(order, 'offset')).toMatchObject({ status: 'registered', failure_reason: null })
  })
})
