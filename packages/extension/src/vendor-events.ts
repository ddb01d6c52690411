import type { VendorDispute, VendorPayment, VendorRefund } from './gateway.ts'
import type { VendorSubscription } from './vendor-sales.ts'

export type WebhookResult =
  /** Not from the vendor, or unreadable: nothing is stored, nothing changes. `reason` holds no secret. */
  | { verdict: 'refused'; status: 400 | 401 | 403; reason: string }
  /** Stored and answered at once; acted on by the worker. No events means: understood, nothing to do. */
  | {
      verdict: 'accepted'
      events: readonly VendorEvent[]
      answer?: { status?: number; content_type?: string; body?: string }
    }

interface EventBase {
  /** Unique per event at this vendor; a repeat has the same. */
  external_event_id: string
  /** `signed`: the bytes were proved to be the vendor's. `hint`: only tells where to look. */
  trust: 'signed' | 'hint'
  /** The vendor's name of the event, for people. */
  type: string
  occurred_at?: Date
}

export interface PaymentEvent extends EventBase {
  kind: 'payment'
  external_id?: string
  payment_id?: string
  payment_number?: number
  /** With trust `signed` the object itself may be given and is then believed. */
  payment?: VendorPayment
}

/**
 * Given with money that goes back from a charge a subscription was renewed with. Where the charge is not
 * known here yet, the subscription is read, if it is named, and the event waits for the charge.
 */
export interface ChargeOf {
  subscription_external_id?: string
}

export interface RefundEvent extends EventBase {
  kind: 'refund'
  external_id: string
  refund_id?: string
  payment_external_id?: string
  refund?: VendorRefund
  charge_of?: ChargeOf
}

export interface DisputeEvent extends EventBase {
  kind: 'dispute'
  dispute: VendorDispute
  charge_of?: ChargeOf
}

export interface SubscriptionEvent extends EventBase {
  kind: 'subscription'
  external_id: string
  /** The vendor's product, where the vendor asks by it. */
  product_code?: string
  /** The charge it tells of: the event waits until the subscription is read with it among its charges. */
  charge_external_id?: string
  /** What it said, for people. */
  data: Readonly<Record<string, unknown>>
  /** With trust `signed` the object itself may be given and is then believed; else it is read again. */
  subscription?: VendorSubscription
}

/** The buyer took back at the vendor what he had agreed to: the method can be charged no more. */
export interface MethodRemovedEvent extends EventBase {
  kind: 'method_removed'
  /** The method's id at the vendor. */
  external_id: string
}

/** What a notification says happened, in our words. */
export type VendorEvent =
  | PaymentEvent
  | RefundEvent
  | DisputeEvent
  | MethodRemovedEvent
  /** A vendor's own subscription changed (RuStore, Stars, Paddle); kept as the vendor tells it. */
  | SubscriptionEvent
