import { errorBody, registerApi, registerPage } from './crypto-pay/api.ts'
import { completeInvoice, expireDue } from './crypto-pay/invoices.ts'
import { ASSETS, VendorError } from './crypto-pay/objects.ts'
import type { CryptoPaySettings, World } from './crypto-pay/objects.ts'
import { forge } from './crypto-pay/webhooks.ts'
import { createStore, defineEmulator, startEmulator, unknownObject } from './emulator.ts'
import type { Emulator, EmulatorOptions, Kit, Vendor } from './emulator.ts'

export type { CryptoPaySettings, Invoice, Transfer } from './crypto-pay/objects.ts'

/** The first invoice's number: ids are larger than anything a test makes up. */
const FIRST_ID = 528_890

/** Crypto Pay from the vendor's side. Base URL for a client: `<base_url>`; methods are under `/api/`. */
export const emulator = defineEmulator<CryptoPaySettings>({
  id: 'crypto-pay',
  title: 'Crypto Pay',
  description: 'Invoices in money and assets, transfers, signed updates, a pay page.',
  // The vendor repeats, but publishes no schedule.
  retry_schedule_ms: [60_000, 300_000, 900_000, 3_600_000],
  settings: {
    token: {
      schema: { type: 'string', pattern: '^\\d{1,20}:[\\w-]{16,200}$' },
      default: '12345:AAKopilkaCryptoPayToken0123456789',
      description: 'Sent as Crypto-Pay-API-Token; its digest signs updates.',
      is_secret: true,
    },
    are_transfers_enabled: {
      schema: { type: 'boolean' },
      default: false,
      description: 'Whether the app may transfer; off at the vendor too until switched on.',
    },
    paid_asset: {
      schema: { enum: ASSETS },
      default: 'USDT',
      description: 'What buyers pay prices in money with.',
    },
  },
  create: createVendor,
})

/** Starts the emulator; close it when done. */
export function startCryptoPayEmulator(options: EmulatorOptions<CryptoPaySettings> = {}): Promise<Emulator> {
  return startEmulator(emulator, options)
}

function createVendor(kit: Kit<CryptoPaySettings>): Vendor {
  const world: World = { kit, invoices: createStore(), transfers: createStore(), last_id: FIRST_ID }
  return {
    collections: { invoices: world.invoices, transfers: world.transfers },
    async routes(app) {
      await app.register(async (api) => registerApi(api, world), { prefix: '/api' })
      await app.register(async (page) => registerPage(page, world))
    },
    complete(id, input) {
      const invoice = world.invoices.get(id)
      if (!invoice) throw unknownObject(id)
      return completeInvoice(world, invoice, input)
    },
    forge: (object_id, notification) => forge(world, object_id, notification),
    accepts: (response) => response.status === 200,
    faultReply(kind) {
      const error =
        kind === 'error_500' ? new VendorError(500, 'APP_ERROR') : new VendorError(429, 'TOO_MANY_REQUESTS')
      return { status: error.code, body: JSON.stringify(errorBody(error)) }
    },
    tick: () => expireDue(world),
    reset() {
      world.invoices.clear()
      world.transfers.clear()
      world.last_id = FIRST_ID
    },
  }
}
