import { z } from 'zod'
import { parseOrderRules, sayRule, type OrderRule } from '#modules/payments'

const gatewayOrder = z
  .string()
  .default('')
  .transform((text, context): readonly OrderRule[] => {
    const rules = parseOrderRules(text)
    if (Array.isArray(rules)) return rules
    const message = `"${rules.problem}" is not CURRENCY/COUNTRY=gateway,gateway`
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })

/** Settings of how payments are taken. */
export const PAYMENT_SETTINGS = {
  gateway_order: {
    env: 'KOPILKA_GATEWAY_ORDER',
    schema: gatewayOrder,
    about:
      'Which gateways may be chosen for an order that names none, and who first: rules by semicolons, of ' +
      'which the first that fits counts, e.g. RUB=yookassa,robokassa; any/DE=paypal,stripe; any=stripe.',
  },
  paid_again: {
    env: 'KOPILKA_PAID_AGAIN',
    schema: z.enum(['grant_again', 'refund_second', 'keep_for_person']).default('refund_second'),
    about:
      'What happens when a payment link is paid twice: grant once more, give the second money back, or wait.',
  },
} as const

/** One item of a setting's list as people read it. */
export function sayRules(item: unknown): unknown {
  const is_rule = typeof item === 'object' && item !== null && 'gateways' in item
  return is_rule ? sayRule(item as OrderRule) : item
}
