import { DomainError } from '#kernel/errors'

export class GatewayNotAvailable extends DomainError {
  readonly code = 'gateway_not_available'
  readonly status = 409
  readonly title = 'This gateway cannot take this payment.'
}

export class GatewaySettingsInvalid extends DomainError {
  readonly code = 'gateway_settings_invalid'
  readonly status = 409
  readonly title = 'The settings of this gateway do not fit.'
}

export class RefundTooLarge extends DomainError {
  readonly code = 'refund_too_large'
  readonly status = 409
  readonly title = 'More would be given back than was taken.'
}

export class PaymentRefused extends DomainError {
  readonly code = 'payment_refused'
  readonly status = 402
  readonly title = 'The gateway refused the payment.'
}

export class ReceiptContactNeeded extends DomainError {
  readonly code = 'receipt_contact_needed'
  readonly status = 400
  readonly title = 'The law asks for a receipt, and a receipt needs the buyer’s e-mail or phone.'
}

export class ReceiptNotPossible extends DomainError {
  readonly code = 'receipt_not_possible'
  readonly status = 409
  readonly title = 'The gateway cannot register this receipt.'
}
