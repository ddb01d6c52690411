import { createHash, createHmac, verify } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Emulator } from '../emulator.ts'
import { startListener } from '../kit/test-listener.ts'
import type { Listener } from '../kit/test-listener.ts'
import { startRobokassaEmulator } from '../robokassa.ts'

const P1 = 'robokassa_live_password_1'
const P2 = 'robokassa_live_password_2'
const P3 = 'robokassa_live_password_3'
let merchant: Listener
let emulator: Emulator

beforeEach(async () => {
  merchant = await startListener()
  emulator = await startRobokassaEmulator({ webhook_url: merchant.url, seed: 1, retry_scale: 0.00001 })
})
afterEach(async () => {
  await emulator.close()
  await merchant.close()
})

const hash = (...parts: string[]) => createHash('sha256').update(parts.join(':')).digest('hex')
const post = (path: string, fields: Record<string, string>, manual = false) =>
  fetch(emulator.base_url + path, {
    method: 'POST',
    body: new URLSearchParams(fields),
    ...(manual ? { redirect: 'manual' as const } : {}),
  })
const open = (number: string, fields: Record<string, string> = {}, signed: string[] = []) =>
  post('/Merchant/Index.aspx', {
    MerchantLogin: 'demo_shop',
    OutSum: '599.00',
    InvId: number,
    SignatureValue: hash(
      'demo_shop',
      '599.00',
      number,
      ...signed,
      fields['IsTest'] ? 'robokassa_test_password_1' : P1,
    ),
    ...fields,
  })
const state = async (number: string, password = P2) => {
  const query = new URLSearchParams({
    MerchantLogin: 'demo_shop',
    InvoiceID: number,
    Signature: hash('demo_shop', number, password),
  })
  const path = `/Merchant/WebService/Service.asmx/OpStateExt?${query.toString()}`
  const xml = await (await fetch(emulator.base_url + path)).text()
  return [...xml.matchAll(/<(?:Result|State)><Code>(\d+)/g)].map(([, code]) => code)
}
const forms = () => merchant.received.map(({ text }) => Object.fromEntries(new URLSearchParams(text)))

describe('The payment page of Robokassa', () => {
  test('pays: the form is signed with password 2 over six digits, the browser goes back', async () => {
    merchant.answer({ body: 'OK1001' })
    const page = await open('1001', { SuccessUrl2: 'https://shop.example/ok', SuccessUrl2Method: 'GET' }, [
      'https://shop.example/ok',
      'GET',
    ])
    expect(await page.text()).toContain('599.00')
    const back = await post('/Merchant/Index/1001', { action: 'pay' }, true)
    expect(back.headers.get('location')).toMatch(/^https:\/\/shop\.example\/ok\?OutSum=599\.00&InvId=1001/)
    expect(await emulator.control.settled()).toBe(true)
    expect(forms()).toMatchObject([
      { OutSum: '599.000000', InvId: '1001', SignatureValue: hash('599.000000', '1001', P2).toUpperCase() },
    ])
    expect(await state('1001')).toEqual(['0', '100'])
  })

  test('refuses a wrong signature, sum, number, shop, a used number and an expired link', async () => {
    await open('1')
    emulator.control.complete('1', 'succeeded')
    const past = { ExpirationDate: '2020-01-01T00:00:00Z' }
    const answers = [
      open('2', { OutSum: '1.00' }),
      open('2', { SignatureValue: hash('demo_shop', '599.00', '2', P2) }),
      open('2', { MerchantLogin: 'x' }),
      open('0'),
      open('1'),
      open('2', past),
      open('2', { Receipt: '%7B%7D' }, ['%7B%7D']),
    ]
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([
      400, 400, 400, 400, 400, 400, 400,
    ])
    expect(emulator.control.objects().items).toHaveLength(1)
  })

  test('a decline changes the state and tells nobody; an unpaid link expires', async () => {
    await open('1')
    await post('/Merchant/Index/1', { action: 'decline' })
    await open('2', { ExpirationDate: new Date(Date.now() + 60_000).toISOString() })
    emulator.control.advanceClock(120_000)
    expect([await state('1'), await state('2')]).toEqual([
      ['0', '10'],
      ['0', '10'],
    ])
    expect(await emulator.control.settled()).toBe(true)
    expect(merchant.received).toEqual([])
  })

  test('payments of the test mode have their own passwords; the status service knows none', async () => {
    merchant.answer({ body: 'OK3' })
    await open('3', { IsTest: '1' })
    emulator.control.complete('3', 'succeeded')
    await emulator.control.settled()
    expect(forms()).toMatchObject([
      { IsTest: '1', SignatureValue: hash('599.000000', '3', 'robokassa_test_password_2').toUpperCase() },
    ])
    expect([await state('3'), await state('3', P1), await state('9')]).toEqual([['3'], ['1'], ['3']])
  })
})

describe('Notifications of Robokassa', () => {
  test('are repeated until the answer is OK and the number', async () => {
    await open('1')
    emulator.control.complete('1', 'succeeded')
    await emulator.control.settled()
    expect(merchant.received).toHaveLength(8)
    expect(new Set(merchant.received.map(({ text }) => text)).size).toBe(1)
  })

  test('of a hold are a JWS of the published key; confirming less pays, cancelling frees', async () => {
    await open('1', { StepByStep: 'true', ResultUrl2: `${merchant.url}2` }, ['true', `${merchant.url}2`])
    await post('/Merchant/Index/1', { action: 'pay' })
    await emulator.control.settled()
    const [head = '', body = '', signature = ''] = (merchant.received[0]?.text ?? '').split('.')
    const key = await (await fetch(`${emulator.base_url}/jwtsign.cer`)).text()
    expect(verify('sha256', Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url'))).toBe(
      true,
    )
    expect(JSON.parse(Buffer.from(body, 'base64url').toString())).toMatchObject({
      data: { invId: '1', state: 'HOLD' },
    })
    const end = (sum: string, act: string) =>
      post(`/Merchant/Payment/${act}`, {
        MerchantLogin: 'demo_shop',
        InvoiceID: '1',
        ...(sum === '' ? {} : { OutSum: sum }),
        SignatureValue: hash('demo_shop', sum, '1', P1),
      }).then((answer) => answer.text())
    expect(await end('600.00', 'Confirm')).toMatch(/^ERROR 31/)
    expect(await end('100.00', 'Confirm')).toBe('true')
    expect(await end('', 'Cancel')).toMatch(/^ERROR 41/)
    expect(emulator.control.objects().items).toMatchObject([{ amount: 10_000, state: 100 }])
  })

  test('that are forged lack the second password', async () => {
    await open('1')
    emulator.control.faults({ forge: 1 })
    expect(emulator.control.forge('1')).toBeGreaterThan(0)
    await emulator.control.settled()
    for (const form of forms()) {
      const { OutSum = '', InvId = '', SignatureValue = '' } = form as Record<string, string>
      expect(SignatureValue.toLowerCase()).not.toBe(hash(OutSum, InvId, P2))
    }
    expect(await state('1')).toEqual(['0', '5'])
  })
})

describe('Services of Robokassa', () => {
  const refund = async (payload: object, key = P3) => {
    const head = [{ alg: 'HS256', typ: 'JWT' }, payload]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    const jwt = `${head}.${createHmac('sha256', key).update(head).digest('base64url')}`
    const headers = { 'content-type': 'application/json' }
    const url = `${emulator.base_url}/RefundService/Refund/Create`
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(jwt) })
    return { status: answer.status, body: (await answer.json()) as { requestId: string; message: string } }
  }

  test('refund up to the sum, by OpKey, with password 3 only', async () => {
    await open('1')
    emulator.control.complete('1', 'succeeded')
    const [payment] = emulator.control.objects().items as { op_key: string }[]
    const OpKey = payment?.op_key
    expect(await refund({ OpKey }, P1)).toMatchObject({ status: 401 })
    expect(await refund({ OpKey: 'x' })).toMatchObject({
      status: 400,
      body: { message: 'OperationNotFound' },
    })
    const { body } = await refund({ OpKey, RefundSum: 100.5 })
    expect(await refund({ OpKey })).toMatchObject({ body: { message: 'NotEnoughOperationFunds' } })
    expect(await refund({ OpKey, RefundSum: 498.5 })).toMatchObject({ status: 200 })
    expect(await refund({ OpKey })).toMatchObject({ body: { message: 'AlreadyRefunded' } })
    const url = `${emulator.base_url}/RefundService/Refund/GetState?id=`
    expect(await (await fetch(url + body.requestId)).json()).toMatchObject({
      amount: 100.5,
      label: 'finished',
    })
    expect(await (await fetch(`${url}x`)).json()).toEqual({ message: 'Request not found' })
  })

  test('charge again only a paid parent that agreed, and each number once', async () => {
    await open('1', { Recurring: 'true' })
    const charge = (number: string) =>
      post('/Merchant/Recurring', {
        MerchantLogin: 'demo_shop',
        InvoiceID: number,
        PreviousInvoiceID: '1',
        OutSum: '10.00',
        SignatureValue: hash('demo_shop', '10.00', number, P1),
      }).then((answer) => answer.text())
    expect(await charge('2')).toMatch(/^ERROR 35/)
    emulator.control.complete('1', 'succeeded')
    expect(await charge('2')).toBe('OK2')
    expect(await charge('2')).toMatch(/^ERROR 40/)
    expect(await state('2')).toEqual(['0', '100'])
  })
})
