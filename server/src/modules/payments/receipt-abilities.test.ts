import type { Gateway } from '@kopilka/extension'
import { describe, expect, it } from 'vitest'
import { ReceiptContactNeeded, ReceiptNotPossible } from './errors.ts'
import type { ReadyGateway } from './gateways.ts'
import cryptoPay from './gateways/crypto-pay.ts'
import robokassa from './gateways/robokassa.ts'
import sandbox from './gateways/sandbox.ts'
import stripe from './gateways/stripe.ts'
import yookassa from './gateways/yookassa.ts'
import { isFiscal, receiptUnderLaw, registrarOf } from './receipt-abilities.ts'
import type { FrozenReceipt } from './receipt-share.ts'

const ready = (gateway: Gateway<never>, config: object = {}): ReadyGateway => ({
  gateway: gateway as Gateway,
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
    for (const foreign of [stripe, cryptoPay, sandbox] as Gateway<never>[]) {
      expect(isFiscal({}, ready(foreign), rouble)).toBe(false)
    }
    expect(isFiscal({}, ready(yookassa, { ...live, receipts: false }), rouble)).toBe(false)
    // A test shop asks for none, and registers what it is given.
    const test = { receipts: true, secret_key: 'test_key' }
    expect(isFiscal({}, ready(yookassa, test), rouble)).toBe(true)
    expect(isFiscal({}, ready(yookassa, test), nobody)).toBe(false)
  })

  it('is so for roubles of the named gateways, and for no other sale', () => {
    const named = { fiscal_gateways: ['stripe'] }
    expect(isFiscal(named, ready(stripe), { ...rouble, has_receipt: false })).toBe(true)
    expect(isFiscal(named, ready(stripe), { ...rouble, currency: 'USD' })).toBe(false)
    expect(isFiscal(named, ready(yookassa, live), rouble)).toBe(false)
    expect(isFiscal({ fiscal_gateways: [] }, ready(yookassa, live), rouble)).toBe(false)
  })
})

describe('the receipt of a payment to be', () => {
  const kit = { fiscal_gateways: ['sandbox', 'stripe'] }

  it('has the contact in the vendors’ form, or is asked for', () => {
    expect(receiptUnderLaw(kit, ready(sandbox), { currency: 'RUB', receipt })).toEqual({
      ...receipt,
      contact: { phone: '79001234567' },
    })
    const nobody = { ...receipt, contact: { email: 'none', phone: '1' } }
    for (const given of [{ currency: 'RUB' }, { currency: 'RUB', receipt: nobody }]) {
      expect(() => receiptUnderLaw(kit, ready(sandbox), given)).toThrow(ReceiptContactNeeded)
    }
    expect(receiptUnderLaw(kit, ready(yookassa, live), { currency: 'RUB', receipt })).toBeUndefined()
  })

  it('is refused at a rate the vendor has no word for', () => {
    const without = { ...sandbox, receipts: { ...sandbox.receipts, vats: ['none', '20'] } } as Gateway<never>
    expect(() => receiptUnderLaw(kit, ready(without), { currency: 'RUB', receipt })).toThrow(
      ReceiptNotPossible,
    )
  })
})

describe('who registers a receipt', () => {
  it('is the operation’s own call where it carries it, a call apart, or a person', () => {
    const of = (gateway: Gateway<never>, config: object) =>
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
