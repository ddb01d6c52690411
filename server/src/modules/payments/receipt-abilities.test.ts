import type { Gateway } from '@kopilka/extension'
import { describe, expect, it } from 'vitest'
import { ReceiptContactNeeded, ReceiptNotPossible } from './errors.ts'
import { loadGatewayFiles, type ReadyGateway } from './gateways.ts'
import { isFiscal, receiptUnderLaw, registrarOf } from './receipt-abilities.ts'
import type { FrozenReceipt } from './receipt-share.ts'

const files = await loadGatewayFiles()
const named = (id: string): Gateway => {
  const found = files.find((gateway) => gateway.id === id)
  if (!found) throw new Error(`there is no gateway ${id}`)
  return found
}
const cryptoPay = named('crypto-pay')
const robokassa = named('robokassa')
const sandbox = named('sandbox')
const stripe = named('stripe')
const yookassa = named('yookassa')
const ready = (gateway: Gateway, config: object = {}): ReadyGateway => ({
  gateway,
  config,
  is_test: true,
  position: 1,
})
const live = { receipts: true, secret_key: 'live_key' }
const rouble = { currency: 'RUB', has_receipt: true }
const receipt: FrozenReceipt = {
  contact: { phone: '8 900 123-45-67' },
  items: [
    {
      description: 'minutes',
      quantity: 1,
      unit_amount: 100n,
      vat: '22',
      payment_subject: 'service',
      payment_mode: 'full_payment',
    },
  ],
}

describe('whether a sale needs a fiscal receipt', () => {
  it('is as the gateway says, unless the owner has named the gateways', () => {
    const nobody = { ...rouble, has_receipt: false }
    expect(isFiscal({}, ready(yookassa, live), nobody)).toBe(true)
    expect(isFiscal({}, ready(robokassa, { receipts: true }), nobody)).toBe(true)
    for (const foreign of [stripe, cryptoPay, sandbox]) {
      expect(isFiscal({}, ready(foreign), rouble)).toBe(false)
    }
    expect(isFiscal({}, ready(yookassa, { ...live, receipts: false }), rouble)).toBe(false)
    // A test shop asks for none, and registers what it is given.
    const test = { receipts: true, secret_key: 'test_key' }
    expect(isFiscal({}, ready(yookassa, test), rouble)).toBe(true)
    expect(isFiscal({}, ready(yookassa, test), nobody)).toBe(false)
  })

  it('is so for roubles of the named gateways, and for no other sale', () => {
    const by_owner = { fiscal_gateways: ['stripe'] }
    expect(isFiscal(by_owner, ready(stripe), { ...rouble, has_receipt: false })).toBe(true)
    expect(isFiscal(by_owner, ready(stripe), { ...rouble, currency: 'USD' })).toBe(false)
    expect(isFiscal(by_owner, ready(yookassa, live), rouble)).toBe(false)
    expect(isFiscal({ fiscal_gateways: [] }, ready(yookassa, live), rouble)).toBe(false)
  })
})

describe('the receipt of a payment to be', () => {
  const under_law = { fiscal_gateways: ['sandbox', 'stripe'] }

  it('has the contact in the vendors’ form, or is asked for', () => {
    expect(receiptUnderLaw(under_law, ready(sandbox), { currency: 'RUB', receipt })).toEqual({
      ...receipt,
      contact: { phone: '79001234567' },
    })
    const nobody = { ...receipt, contact: { email: 'none', phone: '1' } }
    for (const given of [{ currency: 'RUB' }, { currency: 'RUB', receipt: nobody }]) {
      expect(() => receiptUnderLaw(under_law, ready(sandbox), given)).toThrow(ReceiptContactNeeded)
    }
    expect(receiptUnderLaw(under_law, ready(yookassa, live), { currency: 'RUB', receipt })).toBeUndefined()
  })

  it('has an e-mail where the vendor would refuse a phone alone, before the vendor is asked', () => {
    const strict = { ...live, receipts_need_email: true }
    const sold = { currency: 'RUB', receipt }
    expect(() => receiptUnderLaw({}, ready(yookassa, strict), sold)).toThrow(ReceiptContactNeeded)
    expect(receiptUnderLaw({}, ready(yookassa, { ...live, receipts_need_email: false }), sold)).toBeDefined()
    const by_email = { ...receipt, contact: { email: 'buyer@example.com' } }
    expect(receiptUnderLaw({}, ready(yookassa, strict), { currency: 'RUB', receipt: by_email })).toBeDefined()
    // Robokassa takes either.
    expect(receiptUnderLaw({}, ready(robokassa, { receipts: true }), sold)).toBeDefined()
  })

  it('is refused at a rate the vendor has no word for', () => {
    const { receipts } = sandbox
    if (!receipts) throw new Error('the sandbox registers receipts')
    const without: Gateway = { ...sandbox, receipts: { ...receipts, vats: ['none', '20'] } }
    expect(() => receiptUnderLaw(under_law, ready(without), { currency: 'RUB', receipt })).toThrow(
      ReceiptNotPossible,
    )
  })
})

describe('who registers a receipt', () => {
  it('is the operation’s own call where it carries it, a call apart, or a person', () => {
    const of = (gateway: Gateway, config: object) =>
      (['payment', 'offset', 'refund'] as const).map((purpose) =>
        registrarOf(ready(gateway, config), purpose, true),
      )
    expect(of(yookassa, live)).toEqual(['operation', 'apart', 'operation'])
    expect(of(robokassa, { receipts: true })).toEqual(['operation', 'apart', 'operation'])
    expect(of(sandbox, {})).toEqual(['apart', 'apart', 'apart'])
    expect(of(stripe, {})).toEqual(['person', 'person', 'person'])
    expect(of(yookassa, { ...live, receipts: false })).toEqual(['person', 'person', 'person'])
    expect(registrarOf(undefined, 'payment', true)).toBe('person')
    // What was not carried: YooKassa takes it later, Robokassa does not.
    expect(registrarOf(ready(yookassa, live), 'refund', false)).toBe('apart')
    expect(registrarOf(ready(robokassa, { receipts: true }), 'refund', false)).toBe('person')
  })
})
