/** Who comes first for one currency and country; absent is any. */
export interface OrderRule {
  currency?: string
  country?: string
  gateways: readonly string[]
}

const RULE = /^(?<currency>any|[A-Z]{3,5})(?:\/(?<country>[A-Z]{2}))?\s*=\s*(?<gateways>.+)$/
const GATEWAY = /^[a-z0-9-]{1,50}$/
const RULES_MAX = 100

/**
 * Reads the owner's order: rules by semicolons, each `CURRENCY/COUNTRY=gateway,gateway`, e.g.
 * `RUB=yookassa,robokassa; any/DE=paypal,stripe; any=stripe`. Answers the first text that is no rule instead.
 * Pure.
 */
export function parseOrderRules(text: string): OrderRule[] | { problem: string } {
  const parts = text
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
  if (parts.length > RULES_MAX) return { problem: `more than ${RULES_MAX} rules` }
  const rules: OrderRule[] = []
  for (const part of parts) {
    const { currency, country, gateways } = RULE.exec(part)?.groups ?? {}
    const ids = (gateways ?? '').split(',').map((id) => id.trim())
    if (currency === undefined || !ids.every((id) => GATEWAY.test(id))) return { problem: part }
    rules.push({
      ...(currency === 'any' ? {} : { currency }),
      ...(country === undefined ? {} : { country }),
      gateways: ids,
    })
  }
  return rules
}

/** The first rule that fits, as they are written. Pure. */
export function ruleFor(
  rules: readonly OrderRule[],
  { currency, country }: { currency: string; country?: string | undefined },
): OrderRule | undefined {
  return rules.find(
    (rule) =>
      (rule.currency === undefined || rule.currency === currency) &&
      (rule.country === undefined || rule.country === country),
  )
}

/** A rule in a sentence, for the owner. Pure. */
export function sayRule({ currency, country, gateways }: OrderRule): string {
  const where = country === undefined ? '' : ` from ${country}`
  return `${currency ?? 'every currency'}${where}: ${gateways.join(', then ')}`
}
