import { DomainError } from '#kernel/errors'

/** The member has used up what the organization lets him use. Nothing was spent. */
export class MemberLimitReached extends DomainError {
  readonly code = 'member_limit_reached'
  readonly status = 403
  readonly title = 'The organization lets this member use no more.'
}

/** The invitation was accepted, taken back, is too old, or never was one. They are not told apart. */
export class InvitationInvalid extends DomainError {
  readonly code = 'invitation_invalid'
  readonly status = 404
  readonly title = 'This invitation is not valid any more.'
}
