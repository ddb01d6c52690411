import { createHash, createHmac } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { startCryptoPayEmulator } from '../crypto-pay.ts'
import type { CryptoPaySettings, Invoice } from '../crypto-pay.ts'
import type { EmulatorOptions } from '../emulator.ts'
import { startListener } from '../kit/test-listener.ts'

const TOKEN = '12345:AAKopilkaCryptoPayToken0123456789'
const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function open(options: EmulatorOptions<CryptoPaySettings> = {}) {
  const merchant = await startListener()
  const emulator = await startCryptoPayEmulator({
    seed: 1,
    retry_scale: 0.00001,
    webhook_url: merchant.url,
    ...options,
  })
  closing.push(
    () => emulator.close(),
    () => merchant.close(),
  )
  const call = async (method: string, parameters: object = {}, token = TOKEN) => {
    const response = await fetch(`${emulator.base_url}/api/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'crypto-pay-api-token': token },
      body: JSON.stringify(parameters),
    })
    const body = (await response.json()) as {
      ok: boolean
      result?: unknown
      error?: { code: number; name: string }
    }
    return { status: response.status, ...body }
  }
  const make = async (changes: object = {}) =>
    (await call('createInvoice', { currency_type: 'fiat', fiat: 'RUB', amount: '599.00', ...changes }))
      .result as Invoice
  return { emulator, merchant, call, make }
}

const isSigned = (text: string, signature: unknown) =>
  createHmac('sha256', createHash('sha256').update(TOKEN).digest()).update(text).digest('hex') === signature

describe('the Crypto Pay emulator', () => {
  it('makes invoices, lists them newest first in pages, and deletes unpaid ones', async () => {
    const { call, make, emulator } = await open()
    const made = [
      await make(),
      await make({ payload: 'x' }),
      await make({ currency_type: 'crypto', asset: 'TON', amount: 1.5 }),
    ]
    expect(made.map(({ amount, status }) => [amount, status])).toEqual([
      ['599', 'active'],
      ['599', 'active'],
      ['1.5', 'active'],
    ])
    const list = async (parameters: object) =>
      ((await call('getInvoices', parameters)).result as { items: Invoice[] }).items.map(
        ({ invoice_id }) => invoice_id,
      )
    const ids = made.map(({ invoice_id }) => invoice_id)
    expect(await list({})).toEqual(ids.toReversed())
    expect(await list({ offset: 1, count: 1 })).toEqual([ids[1]])
    expect(await list({ fiat: 'RUB' })).toEqual([ids[1], ids[0]])
    expect(await list({ invoice_ids: `${ids[0]},999` })).toEqual([ids[0]])
    expect(await call('deleteInvoice', { invoice_id: ids[0] })).toMatchObject({ ok: true, result: true })
    emulator.control.complete(String(ids[1]), 'succeeded')
    expect(await call('deleteInvoice', { invoice_id: ids[1] })).toMatchObject({ ok: false })
    expect(await list({ status: 'paid' })).toEqual([ids[1]])
  })

  it.each([
    [{ amount: '0' }, 'AMOUNT_INVALID'],
    [{ amount: '-1' }, 'AMOUNT_INVALID'],
    [{ amount: '1e3' }, 'AMOUNT_INVALID'],
    [{ fiat: 'QQQ' }, 'FIAT_INVALID'],
    [{ currency_type: 'crypto', asset: 'DOGE' }, 'ASSET_INVALID'],
    [{ expires_in: 0 }, 'EXPIRES_IN_INVALID'],
    [{ expires_in: 2_678_401 }, 'EXPIRES_IN_INVALID'],
    [{ payload: 'ж'.repeat(2049) }, 'PAYLOAD_INVALID'],
    [{ paid_btn_name: 'callback', paid_btn_url: 'javascript:1' }, 'PAID_BTN_URL_INVALID'],
    [{ paid_btn_name: 'press' }, 'PAID_BTN_NAME_INVALID'],
    [{ accepted_assets: 'USDT,DOGE' }, 'ACCEPTED_ASSETS_INVALID'],
  ])('refuses an invoice with %j', async (changes, name) => {
    const { call } = await open()
    const asked = { currency_type: 'fiat', fiat: 'RUB', amount: '599', ...changes }
    expect(await call('createInvoice', asked)).toMatchObject({
      status: 400,
      ok: false,
      error: { code: 400, name },
    })
  })

  it('knows its token and its methods only', async () => {
    const { call } = await open()
    expect(await call('getMe', {}, '1:AAx')).toMatchObject({ status: 401, error: { name: 'UNAUTHORIZED' } })
    expect(await call('getYou')).toMatchObject({ status: 404, error: { name: 'METHOD_NOT_FOUND' } })
    expect(await call('getMe')).toMatchObject({ ok: true, result: { app_id: 1 } })
  })

  it('tells of a payment with a signed update, again and again until the answer is 200', async () => {
    const { emulator, merchant, make } = await open()
    merchant.answer({ status: 201 })
    const { invoice_id } = await make()
    emulator.control.complete(String(invoice_id), 'succeeded')
    await expect.poll(() => merchant.received.length).toBeGreaterThan(1)
    merchant.answer({ status: 200 })
    expect(await emulator.control.settled()).toBe(true)
    for (const { text, headers } of merchant.received) {
      expect(isSigned(text, headers['crypto-pay-api-signature'])).toBe(true)
    }
    const [first] = merchant.bodies<{ update_type: string; payload: Invoice }>()
    expect(first).toMatchObject({
      update_type: 'invoice_paid',
      payload: { invoice_id, status: 'paid', paid_asset: 'USDT' },
    })
  })

  it('tells lies of which none is both signed and of today', async () => {
    const { emulator, merchant, make } = await open()
    const { invoice_id } = await make()
    expect(emulator.control.forge(String(invoice_id))).toBe(4)
    emulator.control.faults({ forge: 6 })
    for (let count = 0; count < 6; count++)
      emulator.control.complete(String((await make()).invoice_id), 'succeeded')
    await emulator.control.settled()
    const believed = merchant.received.filter(({ text, headers }) => {
      const { request_date } = JSON.parse(text) as { request_date: string }
      const is_of_today = Date.now() - Date.parse(request_date) < 60_000
      return is_of_today && isSigned(text, headers['crypto-pay-api-signature'])
    })
    expect(merchant.received).toHaveLength(4 + 6 + 6)
    expect(believed).toHaveLength(6)
  })

  it('transfers when allowed, once per spend_id', async () => {
    const { emulator, call } = await open()
    const asked = { user_id: 5, asset: 'USDT', amount: '1.50', spend_id: 'a' }
    expect(await call('transfer', asked)).toMatchObject({ status: 403, ok: false })
    emulator.control.settings({ are_transfers_enabled: true })
    expect(await call('transfer', asked)).toMatchObject({
      ok: true,
      result: { amount: '1.5', status: 'completed' },
    })
    expect(await call('transfer', asked)).toMatchObject({
      ok: false,
      error: { name: 'SPEND_ID_ALREADY_USED' },
    })
    expect(await call('transfer', { ...asked, user_id: undefined })).toMatchObject({
      error: { name: 'USER_ID_INVALID' },
    })
    expect(await call('getTransfers', { spend_id: 'a' })).toMatchObject({
      result: { items: [{ user_id: 5 }] },
    })
    expect(await call('getTransfers', { spend_id: 'b' })).toMatchObject({ result: { items: [] } })
  })

  it('lets invoices run out in silence, and nobody pay them then', async () => {
    const { emulator, merchant, make } = await open()
    const { invoice_id } = await make({ expires_in: 60 })
    emulator.control.advanceClock(61_000)
    expect(() => emulator.control.complete(String(invoice_id), 'succeeded')).toThrow(/already expired/)
    await emulator.control.settled()
    expect(merchant.received).toEqual([])
  })

  it('shows a page on which the invoice is paid once', async () => {
    const { emulator, merchant, make } = await open()
    const back = 'https://shop.example/back'
    const { web_app_invoice_url: url } = await make({
      description: '<b>1</b>',
      paid_btn_name: 'callback',
      paid_btn_url: back,
    })
    expect(await (await fetch(url)).text()).toContain('&lt;b&gt;1')
    for (const action of ['leave', 'pay', 'pay']) {
      const answer = await fetch(url, {
        method: 'POST',
        body: new URLSearchParams({ action }),
        redirect: 'manual',
      })
      expect(answer.headers.get('location')).toBe(back)
    }
    await emulator.control.settled()
    expect(merchant.received).toHaveLength(1)
    expect((await fetch(`${emulator.base_url}/pay/IVunknown`)).status).toBe(404)
  })
})
