import type { Problem } from '../kit/openapi.ts'

/** A refusal in the vendor's words: `{type:"error", id, code, description, parameter}`. */
export class VendorError extends Error {
  override readonly name = 'VendorError'
  readonly status: number
  readonly code: string
  readonly parameter: string | undefined

  constructor(status: number, code: string, description: string, parameter?: string) {
    super(description)
    this.status = status
    this.code = code
    this.parameter = parameter
  }
}

/** 400 `invalid_request`: the request must be changed before it is sent again. */
export function invalidRequest(description: string, parameter?: string): VendorError {
  return new VendorError(400, 'invalid_request', description, parameter)
}

/** 403 `forbidden`: the shop has no right to this feature. */
export function forbidden(description: string, parameter?: string): VendorError {
  return new VendorError(403, 'forbidden', description, parameter)
}

/** 404 `not_found`. */
export function notFound(description: string, parameter: string): VendorError {
  return new VendorError(404, 'not_found', description, parameter)
}

/** The first of the problems found against the vendor's published shapes, as a 400. */
export function refuseProblems(problems: readonly Problem[]): void {
  const [first] = problems
  if (!first) return
  throw invalidRequest(
    `Parameter ${first.keyword === 'required' ? 'is missing' : first.detail}`,
    first.parameter,
  )
}
