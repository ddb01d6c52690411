import { createCipheriv, generateKeyPairSync } from 'node:crypto'
import type { BaseSettings, Kit, Notification, Store } from '../emulator.ts'

export interface RustoreSettings extends BaseSettings {
  shop_url: string
  key_id: string
  public_key: string
  app_id: string
  package_name: string
  notification_key: string
  token_ttl_seconds: number
}

export type InvoiceStatus =
  | 'CREATED'
  | 'EXECUTED'
  | 'PAID'
  | 'CONFIRMED'
  | 'CANCELLED'
  | 'EXPIRED'
  | 'REJECTED'
  | 'REVERSED'
  | 'REFUNDED'

/** What the store holds of one purchase. */
export interface Invoice {
  id: string
  purchase_id: string
  product_code: string
  status: InvoiceStatus
  /** Kopecks. */
  amount: number
  /** Roubles; a test may say otherwise. */
  currency: string
  order_id: string
  developer_payload?: string
  app_user_id?: string
  is_two_stage: boolean
  is_sandbox: boolean
  created_at: string
  paid_at?: string
  refunded_at?: string
}

export interface Subscription {
  /** The purchase id. */
  id: string
  product_code: string
  /** Kopecks. */
  amount: number
  status: 'ACTIVE' | 'CLOSED'
  auto_renewing: boolean
  started_ms: number
  expires_ms: number
  renewals: number
  invoice_id: string
  order_id: string
  developer_payload?: string
  app_user_id?: string
  acknowledged: boolean
  is_sandbox: boolean
}

/** Everything one running emulator holds. */
export interface World {
  kit: Kit<RustoreSettings>
  invoices: Store<Invoice>
  subscriptions: Store<Subscription>
  tokens: Map<string, number>
  keys: () => { private_key: string; public_key: string }
}

/** A refusal in the vendor's envelope. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** The key of an API key made in the console; drawn once it is needed, for it takes a while. */
export function lazyKeys(): World['keys'] {
  let pair: { private_key: string; public_key: string } | undefined
  return () => {
    if (pair) return pair
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    pair = {
      private_key: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
      public_key: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    }
    return pair
  }
}

/** Changes an invoice's state and tells the app's server. */
export function setStatus(world: World, invoice: Invoice, status: InvoiceStatus): void {
  const status_old = invoice.status
  invoice.status = status
  const at = world.kit.now().toISOString()
  if (status === 'PAID' || (status === 'CONFIRMED' && !invoice.paid_at)) invoice.paid_at = at
  if (status === 'REFUNDED') invoice.refunded_at = at
  world.kit.notify(invoiceNotification(world, invoice, status_old))
}

export function invoiceNotification(
  world: World,
  invoice: Invoice,
  status_old: string,
  changes: object = {},
  envelope: { key?: string; app_id?: number; type?: string } = {},
): Notification {
  const type = envelope.type ?? (invoice.is_sandbox ? 'INVOICE_STATUS_SANDBOX' : 'INVOICE_STATUS')
  const data = {
    product_code: invoice.product_code,
    change_status_time: world.kit.now().toISOString(),
    // Pages of the vendor show these words small here and large in its API.
    status_new: invoice.status.toLowerCase(),
    status_old: status_old.toLowerCase(),
    purchase_token: `${invoice.id}.1`,
    invoice_id: invoice.id,
    order_id: invoice.order_id,
    purchase_id: invoice.purchase_id,
    ...(invoice.developer_payload === undefined ? {} : { developer_payload: invoice.developer_payload }),
    ...changes,
  }
  return encrypted(world, { object_id: invoice.id, type, data, ...envelope })
}

export function tellSubscription(
  world: World,
  subscription: Subscription,
  event: string,
  status_old: string,
): void {
  const type = subscription.is_sandbox ? 'SUBSCRIPTION_EVENT_SANDBOX' : 'SUBSCRIPTION_EVENT'
  const data = {
    product_code: subscription.product_code,
    event_time: world.kit.now().toISOString(),
    subscription_event_type: event,
    status_old,
    status_new: subscription.status,
    period_old: 'MAIN',
    period_new: 'MAIN',
    autorenewing: subscription.auto_renewing,
    invoice_id: subscription.invoice_id,
    order_id: subscription.order_id,
    purchase_id: subscription.id,
  }
  world.kit.notify(encrypted(world, { object_id: subscription.id, type, data }))
}

/**
 * `{id, timestamp, payload}`; the payload is nonce, text and tag in base64; `data` in the text is JSON
 * again.
 */
export function encrypted(
  world: World,
  told: { object_id: string; type: string; data: object; key?: string; app_id?: number },
): Notification {
  const { notification_key, app_id } = world.kit.settings()
  const text = JSON.stringify({
    notification_type: told.type,
    app_id: told.app_id ?? Number(app_id),
    data: JSON.stringify(told.data),
  })
  const iv = Buffer.from(world.kit.random.hex(24), 'hex')
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(told.key ?? notification_key, 'base64'), iv)
  const parts = [iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]
  const payload = Buffer.concat(parts).toString('base64')
  const timestamp = world.kit.now().toISOString()
  return {
    object_id: told.object_id,
    event: told.type,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: world.kit.random.uuid(), timestamp, payload }),
  }
}
