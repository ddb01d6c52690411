import type { Transaction } from '@kopilka/emulators/paddle'

/**
 * A checkout of the owner's own page at the emulator, for a club that costs `amount` cents a month. What the
 * page knows of the buyer is in `custom_data`.
 */
export async function openClubCheckout(
  { base_url, api_key }: { base_url: string; api_key: string },
  { amount, custom_data }: { amount: string; custom_data: Record<string, string> },
): Promise<Transaction> {
  const price = {
    description: 'Club',
    product: { name: 'Club', tax_category: 'standard' },
    unit_price: { amount, currency_code: 'USD' },
    tax_mode: 'internal',
    billing_cycle: { interval: 'month', frequency: 1 },
  }
  const answer = await fetch(`${base_url}/transactions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${api_key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ items: [{ quantity: 1, price }], custom_data }),
  })
  const { data } = (await answer.json()) as { data: Transaction }
  return data
}
