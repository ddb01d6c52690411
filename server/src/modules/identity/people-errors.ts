import { DomainError } from '#kernel/errors'

/** Wrong address, wrong password, or nobody: they are not told apart. Nothing was changed. */
export class InvalidCredentials extends DomainError {
  readonly code = 'invalid_credentials'
  readonly status = 401
  readonly title = 'The e-mail address or the password is wrong.'
}

/** A password that is too short, too long, too common, or known from a breach. */
export class WeakPassword extends DomainError {
  readonly code = 'weak_password'
  readonly status = 400
  readonly title = 'This password cannot be used.'
}

/** A link, a code or a challenge was used, is too old, or never was one. They are not told apart. */
export class ProofInvalid extends DomainError {
  readonly code = 'proof_invalid'
  readonly status = 401
  readonly title = 'This link or code is not valid any more.'
}

/** What a vendor is said to have signed is forged, stale, of another bot or shop, or was used before. */
export class VendorProofInvalid extends DomainError {
  readonly code = 'vendor_proof_invalid'
  readonly status = 401
  readonly title = 'This is no valid proof of who somebody is.'
}

/** The refresh token is unknown, its session ended, or it came a second time, which ended the session. */
export class RefreshTokenInvalid extends DomainError {
  readonly code = 'refresh_token_invalid'
  readonly status = 401
  readonly title = 'This refresh token is not valid any more; sign in again.'
}

/** A user must keep one way to sign in. */
export class LastWayToSignIn extends DomainError {
  readonly code = 'last_way_to_sign_in'
  readonly status = 409
  readonly title = 'This is the only way left to sign in.'
}

/**
 * The identity that was just proved is another user's. With the fact `merge_token` whoever proved both may
 * make one user of the two.
 */
export class IdentityTaken extends DomainError {
  readonly code = 'identity_taken'
  readonly status = 409
  readonly title = 'This identity belongs to another user.'
}

/** This installation does not offer this way to sign in. */
export class SignInNotOffered extends DomainError {
  readonly code = 'sign_in_not_offered'
  readonly status = 404
  readonly title = 'This way to sign in is not offered here.'
}

/** The user was closed by staff. Told only to whoever proved to be the user. */
export class UserDisabled extends DomainError {
  readonly code = 'user_disabled'
  readonly status = 403
  readonly title = 'This user may not sign in.'
}
