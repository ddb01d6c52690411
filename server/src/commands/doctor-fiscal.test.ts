import { frozenClock } from '#kernel/clock'
import { createGateways, loadGatewayFiles } from '#modules/payments'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../config.ts'
import { examineFiscal } from './doctor-fiscal.ts'

const SHOP = { shop_id: '100500', secret_key: 'test_kopilka_doctor_secret_key' }
const ROBOKASSA = {
  merchant_login: 'demo_shop',
  password1: 'robokassa_test_password_1',
  password2: 'robokassa_test_password_2',
  is_test: true,
}
const NOW = new Date('2026-03-01T00:00:00Z')

async function look(
  env: Readonly<Record<string, string>>,
  gateways: Record<string, object>,
): Promise<string[]> {
  const ready = createGateways(await loadGatewayFiles(), {
    clock: frozenClock(NOW),
    mode: 'sandbox',
    base_url: () => '',
  })
  for (const [id, values] of Object.entries(gateways)) ready.configure(id, values)
  return examineFiscal(loadConfig(env), ready, NOW).map(({ level, detail }) => `${level}: ${detail}`)
}

describe('what doctor says about fiscal receipts', () => {
  it('is who registers them, and what a person has to do by hand', async () => {
    expect(await look({}, {})).toEqual(['note: no sale gets a fiscal receipt'])
    expect(await look({}, { yookassa: SHOP, robokassa: ROBOKASSA })).toEqual([
      'ok: yookassa registers every receipt',
      'ok: robokassa registers every receipt',
    ])
    const by_hand = { KOPILKA_FISCAL_GATEWAYS: 'yookassa, stripe', KOPILKA_FISCAL_MODE: 'full_prepayment' }
    expect(await look(by_hand, { yookassa: { ...SHOP, receipts: false } })).toEqual([
      'warning: KOPILKA_FISCAL_GATEWAYS names stripe, which is not set up',
      'warning: yookassa does not register receipts of: payment, refund, offset',
    ])
    expect(await look({ KOPILKA_FISCAL_GATEWAYS: 'none' }, { yookassa: SHOP })).toEqual([
      'note: no sale gets a fiscal receipt',
    ])
  })

  it('warns of the rate of 20 % since it is 22', async () => {
    expect(await look({ KOPILKA_FISCAL_VAT: '20' }, { yookassa: SHOP })).toEqual([
      'ok: yookassa registers every receipt',
      'warning: KOPILKA_FISCAL_VAT is 20 %; the general rate is 22 % since 2026',
    ])
    expect(await look({ KOPILKA_FISCAL_VAT: '22' }, { yookassa: SHOP })).toHaveLength(1)
  })
})
