import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openReceiptLab, type ReceiptLab } from '../../../test/receipt-lab.ts'
import { SHOP } from '../../../test/world-settings.ts'

let lab: ReceiptLab
beforeAll(async () => {
  lab = await openReceiptLab({ payment_mode: 'full_payment' })
})
afterAll(() => lab?.close())

const retry = (id: string) =>
  lab.world.call<{ status: string; code?: string; detail?: string }>('POST', `/v1/receipts/${id}/retry`)
const record = (id: string, fiscal_document: string) =>
  lab.world.call<{ status: string; code?: string }>('POST', `/v1/receipts/${id}/record`, {
    fiscal_document,
    fiscal_storage: '9287440300090728',
    fiscal_attribute: '3133458701',
  })
const sendReceiptsOf = (receipts: boolean) =>
  lab.kit.gateways.configure('yookassa', {
    ...SHOP,
    base_url: `${lab.world.yookassa.base_url}/v3`,
    extra_ips: ['127.0.0.1'],
    receipts,
  })

describe('a receipt that a person wants sent again', () => {
  it('is looked for at once where it lies with a vendor who tells, and keeps its key', async () => {
    const order = await lab.buy()
    const { id } = await lab.receipt(order, 'full')
    expect((await retry(id)).body).toMatchObject({ status: expect.stringMatching(/^(?:sent|pending)$/) })
    const { rows } = await lab.world.app.db.pool.query('select round from payments.receipts where id = $1', [
      id,
    ])
    expect(rows).toEqual([{ round: 1 }])
    await lab.settle()
    expect(await lab.receipt(order, 'full')).toMatchObject({ status: 'registered' })
  })

  it('stays where it is when the vendor who has it tells nothing', async () => {
    const order = await lab.buy({ gateway: 'robokassa' })
    const sent = await lab.receipt(order, 'full')
    expect(sent).toMatchObject({ status: 'sent', registrar: 'operation' })
    expect(await retry(sent.id)).toMatchObject({ status: 409, body: { code: 'invalid_state' } })
    expect(await record(sent.id, '17')).toMatchObject({ status: 409, body: { code: 'invalid_state' } })
    expect(await lab.receipt(order, 'full')).toEqual(sent)
  })

  it('is a person’s alone where the gateway registers none', async () => {
    sendReceiptsOf(false)
    lab.world.yookassa.control.settings({ fiscalization: 'off' })
    const order = await lab.buy()
    const { id } = await lab.receipt(order, 'full')
    expect(await retry(id)).toMatchObject({ status: 409, body: { code: 'invalid_state' } })
    // Fifty people with the same numbers have made one receipt; other numbers are another one.
    const answers = await Promise.all(Array.from({ length: 50 }, () => record(id, '17')))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect((await record(id, '18')).status).toBe(409)
    expect(lab.told.filter((one) => one === `receipt.registered ${id}`)).toHaveLength(1)
    sendReceiptsOf(true)
    lab.world.yookassa.control.settings({ fiscalization: 'third_party' })
  })
})
