import type { Card } from './objects.ts'

/** What a test card does. Any other number is paid without 3-D Secure. */
export interface CardBehaviour {
  has_3ds: boolean
  /** `cancellation_details` of a payment with this card. */
  decline?: { party: 'payment_network' | 'yoo_money'; reason: string }
}

/** Numbers from the vendor's public page on testing. */
const WITH_3DS = new Set(['5555555555554477', '4793128161644804', '2200000000000004'])

/** By the vendor's list: Mastercard, Visa, Mir for each reason. */
const DECLINED: Readonly<Record<string, readonly string[]>> = {
  '3d_secure_failed': ['5555555555554592', '4839665499603842', '2200000000000012'],
  call_issuer: ['5555555555554535', '4926946416239025', '2200000000000020'],
  card_expired: ['5555555555554543', '4141435412630840', '2200000000000038'],
  fraud_suspected: ['5555555555554568', '4483274282299972', '2200000000000046'],
  general_decline: ['5555555555554527', '4889971706588753', '2202202212312379'],
  insufficient_funds: ['5555555555554600', '4562265587712390', '2200000000000053'],
  invalid_card_number: ['5555555555554618', '4951017853630544', '2201382000000013'],
  invalid_csc: ['5555555555554626', '4194180666146368', '2200770212727079'],
  issuer_unavailable: ['5555555555554501', '4654130848359150', '2201382000000021'],
  payment_method_limit_exceeded: ['5555555555554576', '4565231022577548', '2201382000000039'],
  payment_method_restricted: ['5555555555554550', '4233961169071671', '2201382000000047'],
}
const DECLINED_BY_VENDOR: Readonly<Record<string, readonly string[]>> = {
  country_forbidden: ['5555555555554584', '4969751510013864', '2201382000000054'],
  fraud_suspected: ['5555555555554634', '4119098878796485', '2201696981989955'],
}

/** Every `reason` a payment may be canceled with, and who says so. */
export const CANCEL_REASONS: Readonly<Record<string, 'payment_network' | 'yoo_money' | 'merchant'>> = {
  '3d_secure_failed': 'payment_network',
  call_issuer: 'payment_network',
  canceled_by_merchant: 'merchant',
  card_expired: 'payment_network',
  country_forbidden: 'yoo_money',
  deal_expired: 'yoo_money',
  expired_on_capture: 'yoo_money',
  expired_on_confirmation: 'yoo_money',
  fraud_suspected: 'yoo_money',
  general_decline: 'payment_network',
  identification_required: 'yoo_money',
  insufficient_funds: 'payment_network',
  internal_timeout: 'yoo_money',
  invalid_card_number: 'payment_network',
  invalid_csc: 'payment_network',
  issuer_unavailable: 'payment_network',
  payment_method_limit_exceeded: 'payment_network',
  payment_method_restricted: 'payment_network',
  permission_revoked: 'payment_network',
  unsupported_mobile_operator: 'yoo_money',
}

export const DEFAULT_CARD = '5555555555554444'

/** What paying with this number leads to. */
export function cardBehaviour(number: string): CardBehaviour {
  const reason = find(DECLINED, number)
  if (reason !== undefined) return { has_3ds: false, decline: { party: 'payment_network', reason } }
  const by_vendor = find(DECLINED_BY_VENDOR, number)
  if (by_vendor !== undefined) return { has_3ds: false, decline: { party: 'yoo_money', reason: by_vendor } }
  return { has_3ds: WITH_3DS.has(number) }
}

/** The part of a card that the vendor shows. */
export function describeCard(number: string, expiry?: { year: string; month: string }): Card {
  return {
    first6: number.slice(0, 6),
    last4: number.slice(-4),
    expiry_year: expiry?.year ?? '2035',
    expiry_month: expiry?.month ?? '12',
    card_type: brandOf(number),
    issuer_country: number.startsWith('22') ? 'RU' : 'US',
    issuer_name: 'Emulated Bank',
  }
}

function brandOf(number: string): string {
  if (/^220[0-4]/.test(number)) return 'Mir'
  if (number.startsWith('4')) return 'Visa'
  if (/^(5[1-5]|2[2-7])/.test(number)) return 'MasterCard'
  if (/^3[47]/.test(number)) return 'AmericanExpress'
  if (number.startsWith('35')) return 'JCB'
  if (/^3[068]/.test(number)) return 'DinersClub'
  return number.startsWith('62') ? 'UnionPay' : 'Unknown'
}

function find(table: Readonly<Record<string, readonly string[]>>, number: string): string | undefined {
  return Object.keys(table).find((reason) => table[reason]?.includes(number))
}
