import { DomainError } from '#kernel/errors'

export class PurchaseDiffers extends DomainError {
  readonly code = 'purchase_differs'
  readonly status = 409
  readonly title = 'The purchase is not what was said about it.'
}

export class PurchaseNotPaid extends DomainError {
  readonly code = 'purchase_not_paid'
  readonly status = 409
  readonly title = 'This purchase has no money in it.'
}

export class ProductUnknown extends DomainError {
  readonly code = 'product_unknown'
  readonly status = 409
  readonly title = 'The catalog does not know what was bought.'
}
