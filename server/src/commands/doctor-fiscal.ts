import type { Gateways } from '#modules/payments'
import { isFiscal, registrarOf } from '#modules/payments'
import type { Config } from '../config.ts'
import type { Finding } from './doctor.ts'

/** From then on the general rate is 22 %. */
const RATE_OF_22 = new Date('2026-01-01T00:00:00+03:00')

/** Looks at what becomes of fiscal receipts (54-FZ) with these settings; asks no vendor. */
export function examineFiscal(config: Config, gateways: Gateways, now: Date): Finding[] {
  const { fiscal } = config
  const named = fiscal.gateways ?? 'auto'
  const fiscal_gateways = gateways
    .list()
    .filter((ready) => isFiscal({ fiscal_gateways: named }, ready, { currency: 'RUB', has_receipt: true }))
  const findings: Finding[] = []
  for (const id of named === 'auto' ? [] : named) {
    if (gateways.find(id)) continue
    findings.push(
      found('warning', `KOPILKA_FISCAL_GATEWAYS names ${id}, which is not set up`, {
        advice: 'Set the gateway up, or take it out.',
      }),
    )
  }
  if (fiscal_gateways.length === 0) {
    return [...findings, found('note', 'no sale gets a fiscal receipt', { advice: NAME_THEM })]
  }
  for (const { gateway, config: settings } of fiscal_gateways) {
    const ready = { gateway, config: settings }
    const how = {
      payment: registrarOf(ready, 'payment', true),
      refund: registrarOf(ready, 'refund', true),
      ...(fiscal.payment_mode === 'full_prepayment' ? { offset: registrarOf(ready, 'offset', false) } : {}),
    }
    const by_hand = Object.entries(how).filter(([, registrar]) => registrar === 'person')
    const kinds = by_hand.map(([kind]) => kind).join(', ')
    findings.push(
      by_hand.length === 0
        ? found('ok', `${gateway.id} registers every receipt`)
        : found('warning', `${gateway.id} does not register receipts of: ${kinds}`, {
            advice: `A person makes them by hand: GET /v1/receipts?status=manual lists them.`,
          }),
    )
    if (gateway.receipts && !gateway.receipts.vats.includes(fiscal.vat)) {
      findings.push(
        found('problem', `${gateway.id} has no VAT of ${fiscal.vat}: its sales are refused`, {
          advice: `Set KOPILKA_FISCAL_VAT to one of ${gateway.receipts.vats.join(', ')}.`,
        }),
      )
    }
  }
  if (fiscal.vat.startsWith('20') && now >= RATE_OF_22) {
    findings.push(
      found('warning', 'KOPILKA_FISCAL_VAT is 20 %; the general rate is 22 % since 2026', {
        advice: 'Ask your accountant, and set KOPILKA_FISCAL_VAT=22.',
      }),
    )
  }
  return findings
}

const NAME_THEM = 'If you sell in Russia, name the gateways in KOPILKA_FISCAL_GATEWAYS.'

function found(level: Finding['level'], detail: string, more: { advice?: string } = {}): Finding {
  return { level, subject: 'fiscal receipts', detail, ...more }
}
