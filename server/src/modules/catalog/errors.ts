import { DomainError } from '#kernel/errors'

/** Why something cannot be bought now. */
export type NotOnSaleReason = 'price_inactive' | 'product_inactive' | 'not_yet_visible' | 'no_longer_visible'

/** It exists, and it is not sold at this moment or at this price. */
export class NotOnSale extends DomainError {
  readonly code = 'not_on_sale'
  readonly status = 409
  readonly title = 'This is not on sale now.'
}
