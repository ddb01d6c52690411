import { InvalidState } from '#kernel/errors'
import { describe, expect, it } from 'vitest'
import { orderReceipt, type FiscalSettings } from './receipts.ts'

const fiscal: FiscalSettings = { vat: '22', payment_subject: 'service', payment_mode: 'full_payment' }
const ahead: FiscalSettings = { ...fiscal, payment_mode: 'full_prepayment' }
const line = (metadata = {}) => ({ name: '30 minutes', quantity: 2n, unit_amount: 20_000n, metadata })
const contact = { email: 'buyer@example.com' }

describe('the receipt of an order', () => {
  it('has a line for each line, with the owner’s rate, subject and mode', () => {
    expect(orderReceipt([line()], contact, { ...fiscal, tax_system: 2 })).toEqual({
      contact,
      tax_system: 2,
      items: [
        {
          description: '30 minutes',
          quantity: 2,
          unit_amount: 20_000n,
          vat: '22',
          payment_subject: 'service',
          payment_mode: 'full_payment',
          position: 0,
        },
      ],
    })
  })

  it('of units paid ahead is of a payment at the calculated rate, and keeps how they read once given', () => {
    expect(orderReceipt([line()], contact, ahead).items).toMatchObject([
      {
        vat: '22/122',
        payment_subject: 'payment',
        payment_mode: 'full_prepayment',
        rendered: { vat: '22', payment_subject: 'service' },
      },
    ])
    const named = orderReceipt([line()], contact, { ...ahead, prepayment_subject: 'service' })
    expect(named.items[0]?.payment_subject).toBe('service')
  })

  it('takes the product’s own rate and subject before the settings’', () => {
    const own = { fiscal_vat: 10, fiscal_subject: 'commodity' }
    const { items } = orderReceipt([line(own), line({ fiscal_vat: 'none' })], contact, fiscal)
    expect(items.map(({ vat, payment_subject }) => [vat, payment_subject])).toEqual([
      ['10', 'commodity'],
      ['none', 'service'],
    ])
  })

  it.each([{ fiscal_vat: '19' }, { fiscal_vat: null }, { fiscal_subject: 'A thing' }, { fiscal_subject: 5 }])(
    'refuses %j, which the law does not know',
    (metadata) => {
      expect(() => orderReceipt([line(metadata)], contact, fiscal)).toThrow(InvalidState)
    },
  )
})
