import { describe, expect, it, test } from 'vitest'
import { chooseGateways, type Candidate, type Wish } from './gateway-choice.ts'
import { parseOrderRules, ruleFor, sayRule, type OrderRule } from './gateway-order.ts'

const gateway = (id: string, position: number, more: Partial<Candidate> = {}): Candidate => ({
  id,
  is_test: true,
  currencies: ['RUB', 'EUR'],
  position,
  needs_receipt_contact: false,
  needs_telegram_id: false,
  may_hold: true,
  is_down: false,
  ...more,
})
const ALL = [
  gateway('sandbox', 1, { currencies: ['RUB', 'EUR', 'XTR'] }),
  gateway('robokassa', 2, { currencies: ['RUB'], needs_receipt_contact: true, may_hold: false }),
  gateway('stars', 3, { currencies: ['XTR'], needs_telegram_id: true }),
  gateway('stripe', 4),
  gateway('yookassa', 5, { currencies: ['RUB'] }),
]
const wish = (more: Partial<Wish> = {}): Wish => ({
  mode: 'sandbox',
  currency: 'RUB',
  has_receipt_contact: true,
  has_telegram_id: false,
  is_held: false,
  ...more,
})
const rules = (text: string): OrderRule[] => {
  const read = parseOrderRules(text)
  if (!Array.isArray(read)) throw new Error(read.problem)
  return read
}
const ORDER = 'RUB/RU=yookassa,robokassa; RUB=stripe,yookassa; any/DE=stripe; EUR=sandbox,stripe'

describe('the choice of a gateway', () => {
  test.each<[string, string, Partial<Wish>, readonly Candidate[], string[]]>([
    ['as they were set up, the sandbox last', '', {}, ALL, ['robokassa', 'stripe', 'yookassa', 'sandbox']],
    ['only what takes the currency', '', { currency: 'EUR' }, ALL, ['stripe', 'sandbox']],
    ['nobody for a currency nobody takes', '', { currency: 'GBP' }, ALL, []],
    [
      'not without a contact where one is needed',
      '',
      { has_receipt_contact: false },
      ALL,
      ['stripe', 'yookassa', 'sandbox'],
    ],
    [
      'stars only for who has a Telegram id',
      '',
      { currency: 'XTR', has_telegram_id: true },
      ALL,
      ['stars', 'sandbox'],
    ],
    ['no stars without one', '', { currency: 'XTR' }, ALL, ['sandbox']],
    ['a hold only where one can be made', '', { is_held: true }, ALL, ['stripe', 'yookassa', 'sandbox']],
    [
      'the customer’s last one first',
      '',
      { last_used: 'yookassa' },
      ALL,
      ['yookassa', 'robokassa', 'stripe', 'sandbox'],
    ],
    [
      'the last one only if it can take it',
      '',
      { currency: 'EUR', last_used: 'yookassa' },
      ALL,
      ['stripe', 'sandbox'],
    ],
    [
      'the sandbox last even if it was used last',
      '',
      { last_used: 'sandbox' },
      ALL,
      ['robokassa', 'stripe', 'yookassa', 'sandbox'],
    ],
    [
      'the owner’s order for a currency and a country',
      ORDER,
      { country: 'RU' },
      ALL,
      ['yookassa', 'robokassa'],
    ],
    ['the first rule that fits, without a country', ORDER, {}, ALL, ['stripe', 'yookassa']],
    ['a rule for a country', ORDER, { currency: 'EUR', country: 'DE' }, ALL, ['stripe']],
    [
      'the sandbox last although a rule names it first',
      ORDER,
      { currency: 'EUR' },
      ALL,
      ['stripe', 'sandbox'],
    ],
    ['the last one before the owner’s order', ORDER, { last_used: 'yookassa' }, ALL, ['yookassa', 'stripe']],
    [
      'nobody outside the rule, not even the last one',
      ORDER,
      { last_used: 'robokassa' },
      ALL,
      ['stripe', 'yookassa'],
    ],
    [
      'what was tried after what was not',
      '',
      { tried: ['robokassa', 'stripe'] },
      ALL,
      ['yookassa', 'sandbox', 'robokassa', 'stripe'],
    ],
    [
      'nobody who is down',
      '',
      {},
      ALL.map((one) => ({ ...one, is_down: one.id === 'robokassa' })),
      ['stripe', 'yookassa', 'sandbox'],
    ],
    ['no test gateway on a live installation', '', { mode: 'live' }, ALL, []],
    [
      'never the sandbox on a live installation, whatever it says of itself',
      '',
      { mode: 'live' },
      ALL.map((one) => ({ ...one, is_test: false })),
      ['robokassa', 'stripe', 'yookassa'],
    ],
    ['no live gateway in the sandbox', '', {}, [gateway('stripe', 1, { is_test: false })], []],
  ])('%s', (_title, order, more, candidates, expected) => {
    expect(chooseGateways(candidates, rules(order), wish(more)).gateways).toEqual(expected)
  })

  it('does not depend on the order of the candidates, and says why each other one cannot', () => {
    const { gateways, refused } = chooseGateways(ALL.toReversed(), rules('RUB=stripe,robokassa,stars'), {
      ...wish({ has_receipt_contact: false }),
    })
    expect(gateways).toEqual(['stripe'])
    expect(Object.fromEntries(refused.map(({ gateway: id, reason }) => [id, reason]))).toEqual({
      sandbox: 'not_in_the_order',
      yookassa: 'not_in_the_order',
      robokassa: 'needs_receipt_contact',
      stars: 'wrong_currency',
    })
  })

  it('is the same for two gateways at one place, by their names', () => {
    const twins = [gateway('b', 1), gateway('a', 1)]
    expect(chooseGateways(twins, [], wish()).gateways).toEqual(['a', 'b'])
  })
})

describe('the owner’s order', () => {
  it('is read from one line and said in words', () => {
    const read = rules(' RUB = yookassa , robokassa ;; any/DE=paypal;any=stripe; ')
    expect(read).toEqual([
      { currency: 'RUB', gateways: ['yookassa', 'robokassa'] },
      { country: 'DE', gateways: ['paypal'] },
      { gateways: ['stripe'] },
    ])
    expect(read.map(sayRule)).toEqual([
      'RUB: yookassa, then robokassa',
      'every currency from DE: paypal',
      'every currency: stripe',
    ])
    expect(ruleFor(read, { currency: 'USD', country: 'DE' })?.gateways).toEqual(['paypal'])
    expect(ruleFor([], { currency: 'USD' })).toBeUndefined()
    expect(rules('')).toEqual([])
  })

  test.each([
    'RUB',
    'rub=stripe',
    'RUB=',
    '=stripe',
    'RUB/Russia=stripe',
    'RUB=a b',
    '*=stripe',
    'RUB=Stripe',
  ])('is refused as a whole with %j in it', (text) => {
    expect(parseOrderRules(`any=stripe; ${text}`)).toEqual({ problem: text })
  })

  it('has a limit', () => {
    const text = Array.from({ length: 101 }, () => 'any=stripe').join(';')
    expect(parseOrderRules(text)).toEqual({ problem: 'more than 100 rules' })
  })
})
