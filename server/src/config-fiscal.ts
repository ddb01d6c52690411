import { VAT_RATES } from '@kopilka/extension'
import { z } from 'zod'
import type { FiscalSettings } from '#modules/orders'
import type { Setting } from './config.ts'

function setting<T>(env: string, schema: z.ZodType<T>, about: string): Setting<T> {
  return { env, schema, about }
}

const word = z.string().regex(/^[a-z_]{1,40}$/, 'must be a word of the law such as service')
const digits = z.string().regex(/^\d{1,4}$/, 'must be a whole number')
const gateways = z
  .string()
  .regex(/^[a-z0-9-]+( *, *[a-z0-9-]+)*$/, 'must be auto, none, or names of gateways by commas')
  .transform((text): 'auto' | string[] => {
    if (text === 'auto') return 'auto'
    return text === 'none' ? [] : text.split(',').map((name) => name.trim())
  })

/** Settings about fiscal receipts (54-FZ): part of every setting there is. */
export const FISCAL_SETTINGS = {
  fiscal_gateways: setting(
    'KOPILKA_FISCAL_GATEWAYS',
    gateways.default('auto'),
    'Gateways whose rouble sales need a fiscal receipt, by commas; auto: those that ask for one; or none.',
  ),
  fiscal_vat: setting('KOPILKA_FISCAL_VAT', z.enum(VAT_RATES).default('none'), 'VAT on fiscal receipts.'),
  fiscal_subject: setting(
    'KOPILKA_FISCAL_SUBJECT',
    word.default('service'),
    'Payment subject on fiscal receipts: what is sold.',
  ),
  fiscal_mode: setting(
    'KOPILKA_FISCAL_MODE',
    z.enum(['full_payment', 'full_prepayment']).default('full_payment'),
    'full_prepayment: units are paid ahead, and an offset receipt follows when they were given.',
  ),
  fiscal_prepayment_subject: setting(
    'KOPILKA_FISCAL_PREPAYMENT_SUBJECT',
    word.default('payment'),
    'Payment subject of the receipt of money that is paid ahead.',
  ),
  fiscal_offset: setting(
    'KOPILKA_FISCAL_OFFSET',
    z.enum(['grant', 'end']).default('end'),
    'When prepaid units count as given: at their grant, or at its end (used up, expired, taken back).',
  ),
  fiscal_offset_days: setting(
    'KOPILKA_FISCAL_OFFSET_DAYS',
    digits.transform(Number).pipe(z.number().min(1).max(3650)).default(365),
    'Days after the grant at which prepaid units count as given at the latest.',
  ),
  fiscal_tax_system: setting(
    'KOPILKA_FISCAL_TAX_SYSTEM',
    digits.transform(Number).pipe(z.number().min(1).max(6)).optional(),
    'Tax system on fiscal receipts, 1 to 6.',
  ),
} as const

type Values = { [Name in keyof typeof FISCAL_SETTINGS]: z.output<(typeof FISCAL_SETTINGS)[Name]['schema']> }

/** Takes the fiscal settings out of all of them, as the rest of the program knows them. */
export function takeFiscal<All extends Values>(
  all: All,
): { rest: Omit<All, keyof Values>; fiscal: FiscalSettings } {
  const {
    fiscal_gateways,
    fiscal_vat,
    fiscal_subject,
    fiscal_mode,
    fiscal_prepayment_subject,
    fiscal_offset,
    fiscal_offset_days,
    fiscal_tax_system,
    ...rest
  } = all
  const fiscal: FiscalSettings = {
    gateways: fiscal_gateways,
    vat: fiscal_vat,
    payment_subject: fiscal_subject,
    payment_mode: fiscal_mode,
    prepayment_subject: fiscal_prepayment_subject,
    offset: fiscal_offset,
    offset_days: fiscal_offset_days,
    ...(fiscal_tax_system === undefined ? {} : { tax_system: fiscal_tax_system }),
  }
  return { rest, fiscal }
}
