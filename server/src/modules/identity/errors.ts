import { DomainError } from '#kernel/errors'

/**
 * The set-up link was used, replaced by a newer one, is too old, or never was one. They are not told apart.
 */
export class SetupTokenInvalid extends DomainError {
  readonly code = 'setup_token_invalid'
  readonly status = 401
  readonly title = 'This set-up link is not valid any more.'
}
