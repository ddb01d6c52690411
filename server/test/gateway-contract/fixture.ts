import type { CreatedPayment, Gateway, GatewayContext, WebhookRequest } from '@kopilka/extension'
import type { Receiver } from './receiver.ts'
import type { VendorControl } from './vendor-control.ts'

/**
 * What a gateway's test says about its vendor, so that the contract can be checked without knowing the
 * vendor. Leave out what the vendor does not have; the checks that need it are then not made.
 */
export interface GatewayFixture<Config = unknown> {
  gateway: Gateway<Config>
  /** `import.meta.resolve` of the gateway's file: its name must equal the gateway's id. */
  file_url: string
  currency: string
  /** Whether the vendor signs its notifications or they only say where to look. */
  trust: 'signed' | 'hint'
  /** Amounts in minor units, instead of 1, 99, 100, 59900 and 1,000,000,000, where the vendor has limits. */
  amounts?: readonly bigint[]
  /**
   * Starts the vendor and says what the owner would fill in. `webhook_url` is where its notifications go.
   * A gateway that calls nobody (the sandbox) answers settings only.
   */
  start: (webhook_url: string) => Promise<Stand>
  /** Which test counts the vendor's refunds, when they cannot be read as objects of their own. */
  refunds_elsewhere?: string
  /** How the vendor's own objects are read over the control API; absent with no vendor. */
  objects?: VendorObjects
  /** A notification as the vendor really sends it, of a payment made through the gateway and paid. */
  realWebhook: (lab: Lab<Config>) => Promise<WebhookRequest>
  /** Where the proof of origin stands in a notification; required with trust `signed`. */
  proof?: Proof
  /**
   * The same notification, signed at another moment, where the vendor signs the time and the window is five
   * minutes. A vendor that signs needs this or `undated`.
   */
  resign?: (request: WebhookRequest, settings: Readonly<Record<string, unknown>>, at: Date) => WebhookRequest
  /** Why no window of five minutes can be held against this vendor's notifications. */
  undated?: string
  /** Where the emulator has the vendor's published description (OpenAPI, Bot API): what is asked of it. */
  published?: PublishedRequests
  /** What a create call brings beside the usual: a receipt, a Telegram id. */
  input?: object
}

export interface PublishedRequests {
  /** Every operation this contract's run asks for, as the description spells it; each request was checked. */
  operations: readonly string[]
  /** Requests the description knows nothing of, and why. */
  unpublished?: Readonly<Record<string, string>>
}

export interface Stand {
  /** The owner's settings, as filled in: parsed by the gateway's schema before use. */
  settings: Record<string, unknown>
  /** The emulator's root address, which also carries `/_emulator`. */
  vendor_url?: string
  close: () => Promise<void>
}

/** One object at the vendor, in our words. */
export interface VendorFact {
  external_id: string
  /** Our payment or refund id as the vendor keeps it. */
  our_id: string | undefined
  amount: bigint
  currency: string
}

export interface VendorObjects {
  payments: { collection: string; read: (object: Record<string, unknown>) => VendorFact }
  refunds?: { collection: string; read: (object: Record<string, unknown>) => VendorFact }
  /** An id of the vendor's form that stands for no payment; a UUID when absent. */
  unknown_id?: string
  /** False where no call makes the payment: the buyer is sent to a signed address (Robokassa). */
  are_created_by_call?: boolean
  /** False where the vendor can find a payment by its own id only. */
  are_found_by_our_id?: boolean
  /** Replaces every payment status in a vendor's answer by a word no version of the gateway knows. */
  withUnknownStatus?: (answer: string) => string
}

export interface Proof {
  /** `undefined` when the notification has none. */
  read: (request: WebhookRequest) => string | undefined
  /** The same notification with another proof, several or none. */
  write: (request: WebhookRequest, value: string | string[] | undefined) => WebhookRequest
  /** True when the vendor's documents allow either case of hexadecimal digits. */
  may_change_case?: boolean
  /**
   * False when this alteration of the body touches only what the vendor does not sign; absent: it signs all.
   */
  covers?: (altered: WebhookRequest) => boolean
}

/** Everything one check has in hand. */
export interface Lab<Config = unknown> {
  fixture: GatewayFixture<Config>
  gateway: Gateway<Config>
  stand: Stand
  config: Config
  context: GatewayContext
  /** Absent when the gateway calls nobody. */
  vendor?: VendorControl
  receiver: Receiver
  /** All values of fields marked secret, and their usual encodings. */
  secrets: readonly string[]
  /** A payment of ours that nobody has seen yet. */
  newPayment: (amount?: bigint) => NewPayment
  /** Creates it through the gateway; with other settings or another patience when given. */
  create: (payment: NewPayment, given?: { config?: Config; timeout_ms?: number }) => Promise<CreatedPayment>
}

export interface NewPayment {
  payment_id: string
  payment_number: number
  order_id: string
  amount: bigint
  currency: string
}
