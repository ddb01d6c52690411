/** Who somebody is at a vendor, as the vendor itself told us. */
export interface VendorPerson {
  /** The vendor's own id of the person, as text. Never an e-mail address. */
  subject: string
  name: string | null
  email: string | null
  /** Whether the vendor vouches for the address in a way that it can be relied on. */
  is_email_verified: boolean
  locale: string | null
}

/** A sign-in at a vendor by OAuth 2.1 or OpenID Connect with PKCE. Sees no database. */
export interface SignInProvider {
  id: 'google' | 'vk'
  title: string
  /** The address the vendor knows, exactly; the vendor sends people back there. */
  redirect_uri: string
  /** Where the person's browser is sent. */
  authorizeUrl(input: { state: string; nonce: string; code_challenge: string }): string | Promise<string>
  /**
   * Exchanges the code for who the person is. A refusal by the vendor, or an answer that does not fit, is a
   * value; `refused` says why, for the log. Throws GatewayUnavailable when the vendor does not answer.
   */
  exchange(input: {
    code: string
    code_verifier: string
    state: string
    nonce: string
    /** VK's own, which comes back with the code. */
    device_id?: string | undefined
    now: Date
  }): Promise<VendorPerson | { refused: string }>
}
