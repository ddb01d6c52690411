/** Something a buyer may pay for; nothing is made of it. */
export interface PreviewPaymentInput {
  amount: bigint
  currency: string
  description: string
  /** Of the buyer, ISO 3166-1; absent: the vendor goes by what it knows, or by none. */
  country?: string
  postal_code?: string
  /** It would be a charge of this subscription of the vendor's. */
  subscription_external_id?: string
}

/** What a buyer would pay in the currency's minor unit, or why the vendor would not sell to him. */
export type PreviewedPayment =
  | {
      refusal?: undefined
      /** Without tax. */
      subtotal: bigint
      tax: bigint
      total: bigint
      currency: string
    }
  | { refusal: string }
