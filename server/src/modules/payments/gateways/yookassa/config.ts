import { baseUrlField, isAddressEntry, secretField, textField } from '@kopilka/extension'
import { z } from 'zod'

/** Rates of VAT in our words; the vendor's `vat_code` is the place in this list, counted from 1. */
export const VATS = [
  'none',
  '0',
  '10',
  '20',
  '10/110',
  '20/120',
  '5',
  '7',
  '5/105',
  '7/107',
  '22',
  '22/122',
] as const

/** What the owner fills in to sell through YooKassa. */
export const configSchema = z.object({
  shop_id: textField('shopId', { max: 20, pattern: /^\d+$/ }),
  secret_key: secretField('Secret key'),
  base_url: baseUrlField('API address', 'https://api.yookassa.ru/v3'),
  check_ip: z.boolean().default(true).meta({ title: "Take notifications from YooKassa's addresses only" }),
  extra_ips: z
    .array(z.string().trim().max(64).refine(isAddressEntry, { error: 'must be an address or a network' }))
    .max(20)
    .default([])
    .meta({ title: 'Further addresses notifications may come from' }),
  receipts: z.boolean().default(true).meta({ title: 'Send fiscal receipts (54-FZ)' }),
  receipts_need_email: z.boolean().default(true).meta({
    title: "Receipts need the buyer's e-mail, as YooKassa's own receipts do; off: a phone is enough",
  }),
  tax_system: z.int().min(1).max(6).optional().meta({ title: 'Tax system code, 1 to 6' }),
  default_vat: z
    .enum(VATS)
    .optional()
    .meta({ title: 'VAT of a purchase that brings an e-mail but no receipt' }),
})

export type Config = z.infer<typeof configSchema>
