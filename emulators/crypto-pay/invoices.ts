import { ControlError, wrongState } from '../emulator.ts'
import type { CompleteInput } from '../emulator.ts'
import { ASSETS, FIATS, RATES, readDecimal, VendorError } from './objects.ts'
import type { Invoice, Transfer, World } from './objects.ts'
import { tell } from './webhooks.ts'

export type Parameters = Readonly<Record<string, unknown>>

const BUTTONS = ['viewItem', 'openChannel', 'openBot', 'callback']
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** `createInvoice`. Throws VendorError 400 with `<PARAMETER>_INVALID`. */
export function createInvoice(world: World, parameters: Parameters): Invoice {
  const { kit } = world
  const now = kit.now()
  const currency_type = oneOf(parameters, 'currency_type', ['crypto', 'fiat']) ?? 'crypto'
  const is_fiat = currency_type === 'fiat'
  const currency = oneOf(parameters, is_fiat ? 'fiat' : 'asset', is_fiat ? FIATS : ASSETS)
  if (currency === undefined) throw new VendorError(400, is_fiat ? 'FIAT_REQUIRED' : 'ASSET_REQUIRED')
  const amount = readDecimal(parameters['amount'])
  if (amount === undefined) throw new VendorError(400, 'AMOUNT_INVALID')
  const accepted = text(parameters, 'accepted_assets', 200)?.split(',')
  if (accepted && (!is_fiat || accepted.some((asset) => !ASSETS.includes(asset)))) {
    throw new VendorError(400, 'ACCEPTED_ASSETS_INVALID')
  }
  const expires_in = integer(parameters, 'expires_in', 1, 2_678_400)
  const button = oneOf(parameters, 'paid_btn_name', BUTTONS)
  const button_url = text(parameters, 'paid_btn_url', 1024)
  if (button !== undefined && !/^https?:\/\/.+/.test(button_url ?? '')) {
    throw new VendorError(400, 'PAID_BTN_URL_INVALID')
  }
  const hash = `IV${kit.random.string(10, ALPHABET)}`
  const page = `${kit.base_url()}/pay/${hash}`
  world.last_id += 1
  const invoice: Invoice = {
    invoice_id: world.last_id,
    hash,
    currency_type: is_fiat ? 'fiat' : 'crypto',
    [is_fiat ? 'fiat' : 'asset']: currency,
    amount,
    ...(accepted ? { accepted_assets: accepted } : {}),
    bot_invoice_url: `${page}?in=bot`,
    mini_app_invoice_url: `${page}?in=mini_app`,
    web_app_invoice_url: `${page}?in=web`,
    ...optional('description', text(parameters, 'description', 1024)),
    ...optional('hidden_message', text(parameters, 'hidden_message', 2048)),
    ...optional('payload', payload(parameters)),
    status: 'active',
    created_at: now.toISOString(),
    ...(expires_in === undefined
      ? {}
      : { expiration_date: new Date(now.getTime() + expires_in * 1000).toISOString() }),
    allow_comments: parameters['allow_comments'] !== false,
    allow_anonymous: parameters['allow_anonymous'] !== false,
    ...(button === undefined ? {} : { paid_btn_name: button, paid_btn_url: button_url ?? '' }),
  }
  world.invoices.add(String(invoice.invoice_id), invoice)
  return invoice
}

/** `getInvoices`: newest first. */
export function getInvoices(world: World, parameters: Parameters): { items: Invoice[] } {
  const ids = text(parameters, 'invoice_ids', 10_000)?.split(',')
  if (ids?.some((id) => !/^\d{1,15}$/.test(id))) throw new VendorError(400, 'INVOICE_IDS_INVALID')
  const status = oneOf(parameters, 'status', ['active', 'paid'])
  const asset = oneOf(parameters, 'asset', ASSETS)
  const fiat = oneOf(parameters, 'fiat', FIATS)
  const matching = [...world.invoices.values()]
    .toReversed()
    .filter(
      (invoice) =>
        (!ids || ids.includes(String(invoice.invoice_id))) &&
        (status === undefined || invoice.status === status) &&
        (asset === undefined || invoice.asset === asset) &&
        (fiat === undefined || invoice.fiat === fiat),
    )
  return { items: page(matching, parameters) }
}

/** `deleteInvoice`: an unpaid one disappears. Throws VendorError 400. */
export function deleteInvoice(world: World, parameters: Parameters): boolean {
  const id = String(integer(parameters, 'invoice_id', 1, 1e12) ?? '')
  const invoice = world.invoices.get(id)
  if (!invoice) throw new VendorError(400, 'INVOICE_NOT_FOUND')
  if (invoice.status !== 'active') throw new VendorError(400, 'INVOICE_STATUS_INVALID')
  return world.invoices.delete(id)
}

/** `transfer`. Throws VendorError 403 when the app may not, 400 for a used `spend_id`. */
export function transfer(world: World, parameters: Parameters): Transfer {
  if (!world.kit.settings().are_transfers_enabled) throw new VendorError(403, 'METHOD_DISABLED')
  const user_id = integer(parameters, 'user_id', 1, Number.MAX_SAFE_INTEGER)
  const asset = oneOf(parameters, 'asset', ASSETS)
  const amount = readDecimal(parameters['amount'])
  const spend_id = text(parameters, 'spend_id', 64)
  if (user_id === undefined) throw new VendorError(400, 'USER_ID_INVALID')
  if (asset === undefined) throw new VendorError(400, 'ASSET_INVALID')
  if (amount === undefined) throw new VendorError(400, 'AMOUNT_INVALID')
  if (spend_id === undefined) throw new VendorError(400, 'SPEND_ID_INVALID')
  if (world.transfers.get(spend_id)) throw new VendorError(400, 'SPEND_ID_ALREADY_USED')
  world.last_id += 1
  const made: Transfer = {
    transfer_id: world.last_id,
    spend_id,
    user_id,
    asset,
    amount,
    status: 'completed',
    completed_at: world.kit.now().toISOString(),
    ...optional('comment', text(parameters, 'comment', 1024)),
  }
  world.transfers.add(spend_id, made)
  return made
}

/** `getTransfers`: newest first. */
export function getTransfers(world: World, parameters: Parameters): { items: Transfer[] } {
  const spend_id = text(parameters, 'spend_id', 64)
  const matching = [...world.transfers.values()]
    .toReversed()
    .filter((made) => spend_id === undefined || made.spend_id === spend_id)
  return { items: page(matching, parameters) }
}

/** The buyer pays; prices in money are paid in the asset of the settings. */
export function pay(world: World, invoice: Invoice): void {
  const asset = invoice.asset ?? world.kit.settings().paid_asset
  invoice.status = 'paid'
  invoice.paid_asset = asset
  invoice.paid_amount = invoice.asset === undefined ? inAsset(invoice) : invoice.amount
  invoice.fee_asset = asset
  invoice.fee_amount = '0'
  invoice.paid_at = world.kit.now().toISOString()
  invoice.paid_anonymously = true
  tell(world, invoice)
}

/** Invoices past their time expire; nobody is told. */
export function expireDue(world: World): void {
  const now = world.kit.now().toISOString()
  for (const invoice of world.invoices.values()) {
    if (invoice.status === 'active' && (invoice.expiration_date ?? '9') <= now) invoice.status = 'expired'
  }
}

/** The control API's `complete`: paid, or expired. Throws ControlError 400 and 409. */
export function completeInvoice(world: World, invoice: Invoice, input: CompleteInput): Invoice {
  if (invoice.status !== 'active') throw wrongState(String(invoice.invoice_id), invoice.status)
  if (input.outcome === 'authorized') throw new ControlError(400, 'bad_outcome', 'There are no holds here.')
  if (input.outcome === 'succeeded') pay(world, invoice)
  else invoice.status = 'expired'
  return invoice
}

/** The price in an asset of six decimals, rounded up, at the invented rate. */
function inAsset(invoice: Invoice): string {
  const [whole = '0', fraction = ''] = invoice.amount.split('.')
  const micros = BigInt(whole + fraction.slice(0, 6).padEnd(6, '0')) * 100n
  const rate = RATES[invoice.fiat ?? ''] ?? 100n
  const digits = String((micros + rate - 1n) / rate).padStart(7, '0')
  return readDecimal(`${digits.slice(0, -6)}.${digits.slice(-6)}`) ?? '0'
}

function page<T>(items: readonly T[], parameters: Parameters): T[] {
  const offset = integer(parameters, 'offset', 0, 1e9) ?? 0
  const count = integer(parameters, 'count', 1, 1000) ?? 100
  return items.slice(offset, offset + count)
}

function payload(parameters: Parameters): string | undefined {
  const value = text(parameters, 'payload', 4096)
  if (value !== undefined && Buffer.byteLength(value) > 4096) throw new VendorError(400, 'PAYLOAD_INVALID')
  return value
}

function text(parameters: Parameters, name: string, max: number): string | undefined {
  const value = parameters[name]
  if (value === undefined || value === '') return undefined
  if (typeof value !== 'string' || value.length > max) throw refusal(name)
  return value
}

function oneOf(parameters: Parameters, name: string, known: readonly string[]): string | undefined {
  const value = text(parameters, name, 40)
  if (value !== undefined && !known.includes(value)) throw refusal(name)
  return value
}

function integer(parameters: Parameters, name: string, min: number, max: number): number | undefined {
  const value = parameters[name]
  if (value === undefined) return undefined
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isInteger(number) || number < min || number > max)
    throw refusal(name)
  return number
}

function refusal(name: string): VendorError {
  return new VendorError(400, `${name.toUpperCase()}_INVALID`)
}

function optional<Name extends string>(name: Name, value: string | undefined): { [N in Name]?: string } {
  return (value === undefined ? {} : { [name]: value }) as { [N in Name]?: string }
}
