/** A refusal of the control API: rendered as `{error:{code, message, …}}` with `status`. */
export class ControlError extends Error {
  override readonly name = 'ControlError'
  readonly status: number
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>

  constructor(status: number, code: string, message: string, details: Record<string, unknown> = {}) {
    super(message)
    this.status = status
    this.code = code
    this.details = details
  }
}

/** 404: the emulator knows no such object. */
export function unknownObject(id: string): ControlError {
  return new ControlError(404, 'unknown_object', 'There is no such object here.', { id })
}

/** 409: the object is in a state from which the asked step is impossible. */
export function wrongState(id: string, status: string): ControlError {
  return new ControlError(409, 'wrong_state', `The object is already ${status}.`, { id, status })
}
