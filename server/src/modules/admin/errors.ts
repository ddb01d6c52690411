import { DomainError } from '#kernel/errors'

/**
 * The amount is above what one person may do alone. Ask for it under /v1/approvals; somebody else decides.
 */
export class ApprovalRequired extends DomainError {
  readonly code = 'approval_required'
  readonly status = 403
  readonly title = 'This takes the agreement of a second person.'
}
