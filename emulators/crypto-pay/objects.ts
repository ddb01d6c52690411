import type { BaseSettings, Kit, Store } from '../emulator.ts'

export interface CryptoPaySettings extends BaseSettings {
  token: string
  are_transfers_enabled: boolean
  /** The asset buyers pay prices in money with. */
  paid_asset: string
}

export interface Invoice {
  invoice_id: number
  hash: string
  currency_type: 'crypto' | 'fiat'
  asset?: string
  fiat?: string
  amount: string
  accepted_assets?: string[]
  bot_invoice_url: string
  mini_app_invoice_url: string
  web_app_invoice_url: string
  description?: string
  status: 'active' | 'paid' | 'expired'
  created_at: string
  expiration_date?: string
  allow_comments: boolean
  allow_anonymous: boolean
  payload?: string
  paid_btn_name?: string
  paid_btn_url?: string
  hidden_message?: string
  paid_asset?: string
  paid_amount?: string
  paid_at?: string
  paid_anonymously?: boolean
  fee_asset?: string
  fee_amount?: string
}

export interface Transfer {
  transfer_id: number
  spend_id: string
  user_id: number
  asset: string
  amount: string
  status: 'completed'
  completed_at: string
  comment?: string
}

/** All that one running emulator knows. */
export interface World {
  kit: Kit<CryptoPaySettings>
  invoices: Store<Invoice>
  transfers: Store<Transfer>
  last_id: number
}

export const ASSETS = 'USDT TON BTC ETH LTC BNB TRX USDC'.split(' ')
export const FIATS =
  'USD EUR RUB BYN UAH GBP CNY KZT UZS GEL TRY AMD THB INR BRL IDR AZN AED PLN ILS KGS TJS'.split(' ')
/** Hundredths of a currency for one unit of any asset; all others cost 1.00. Invented. */
export const RATES: Readonly<Record<string, bigint>> = { RUB: 8150n, EUR: 86n, KZT: 52_000n }

/** A refusal: `{ok: false, error: {code, name}}`. */
export class VendorError extends Error {
  override readonly name = 'VendorError'
  readonly code: number
  readonly word: string
  constructor(code: number, word: string) {
    super(word)
    this.code = code
    this.word = word
  }
}

/** A positive decimal as the vendor writes it: no needless zeros. `undefined` for anything else. */
export function readDecimal(value: unknown): string | undefined {
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text !== 'string' || !/^\d{1,12}(\.\d{1,18})?$/.test(text) || !/[1-9]/.test(text))
    return undefined
  const [whole = '', fraction = ''] = text.split('.')
  const short = fraction.replace(/0+$/, '')
  return `${whole.replace(/^0+(?=\d)/, '')}${short === '' ? '' : `.${short}`}`
}
