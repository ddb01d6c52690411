import { ControlError } from './errors.ts'
import type { Random } from './random.ts'

/** Which requests the request faults touch: those that act (default), those that only read, or all. */
export type FaultScope = 'operations' | 'reads' | 'all'

/**
 * The switches. Unless said otherwise a number means: 0 off; an integer from 1 "the next N" (counts down);
 * a number between 0 and 1 a probability, drawn from the emulator's seeded generator.
 */
export interface Faults {
  /** Integer: so many extra copies of EVERY notification. Below 1: probability of one extra copy. */
  duplicate: number
  /** Milliseconds before the first attempt of every notification. */
  delay_ms: number
  /** A touched notification is held until a later one was sent, or two seconds pass. */
  reorder: number
  /** A touched notification is preceded by a forged one; the kind of forgery rotates. */
  forge: number
  /** A touched notification is never sent, not even retried. */
  lose: number
  /** The operation is not performed and no reply comes. */
  timeout_before_charge: number
  /** The operation is performed and no reply comes. */
  timeout_after_charge: number
  /** The vendor's 500; the first touched request is performed, the second is not, and so on by turns. */
  error_500: number
  /** The vendor's 429; the operation is not performed. */
  error_429: number
  /** An HTML page instead of JSON: by turns 502 after performing, and 200 without performing. */
  html_body: number
  scope: FaultScope
}

export type CountedFault = Exclude<keyof Faults, 'duplicate' | 'delay_ms' | 'scope'>

export const NO_FAULTS: Readonly<Faults> = {
  duplicate: 0,
  delay_ms: 0,
  reorder: 0,
  forge: 0,
  lose: 0,
  timeout_before_charge: 0,
  timeout_after_charge: 0,
  error_500: 0,
  error_429: 0,
  html_body: 0,
  scope: 'operations',
}

/** At most so many extra copies: a receiver that bears 50 at once bears any number. */
const MAX_DUPLICATES = 50
const MAX_COUNT = 1_000_000
const MAX_DELAY_MS = 86_400_000
const SCOPES: readonly string[] = ['operations', 'reads', 'all']

/** What happens to one request. `performed` says whether the handler runs. */
export interface RequestFault {
  kind: 'timeout_before_charge' | 'timeout_after_charge' | 'error_500' | 'error_429' | 'html_body'
  performed: boolean
}

/** The switchboard of one emulator. */
export interface FaultBoard {
  current: () => Faults
  /** Merges a partial setting; throws ControlError 400 for unknown names and numbers out of range. */
  set: (patch: unknown) => Faults
  reset: () => void
  /** Uses a counted fault once, if it is due now. */
  take: (fault: CountedFault) => boolean
  /** How many extra copies the next notification gets. */
  takeDuplicates: () => number
  /** The fault of this request, if any; uses it up. */
  takeForRequest: (is_operation: boolean) => RequestFault | undefined
}

/** Builds a switchboard with everything off. */
export function createFaults(random: Random): FaultBoard {
  let faults: Faults = { ...NO_FAULTS }
  let is_idle = true
  let turns = { error_500: 0, html_body: 0 }

  const refresh = () => {
    const { timeout_before_charge, timeout_after_charge, error_500, error_429, html_body } = faults
    is_idle = timeout_before_charge + timeout_after_charge + error_500 + error_429 + html_body === 0
  }
  const take = (fault: CountedFault) => {
    const value = faults[fault]
    if (value === 0) return false
    if (value < 1) return random.next() < value
    faults[fault] = value - 1
    refresh()
    return true
  }
  const byTurns = (kind: 'error_500' | 'html_body'): RequestFault => {
    turns[kind] += 1
    return { kind, performed: turns[kind] % 2 === 1 }
  }
  return {
    current: () => ({ ...faults }),
    set(patch) {
      faults = { ...faults, ...checkPatch(patch) }
      refresh()
      return { ...faults }
    },
    reset() {
      faults = { ...NO_FAULTS }
      turns = { error_500: 0, html_body: 0 }
      refresh()
    },
    take,
    takeDuplicates() {
      const value = faults.duplicate
      if (value === 0 || value >= 1) return value
      return random.next() < value ? 1 : 0
    },
    takeForRequest(is_operation) {
      if (is_idle) return undefined
      if (faults.scope !== 'all' && (faults.scope === 'operations') !== is_operation) return undefined
      if (take('timeout_before_charge')) return { kind: 'timeout_before_charge', performed: false }
      if (take('timeout_after_charge')) return { kind: 'timeout_after_charge', performed: true }
      if (take('error_500')) return byTurns('error_500')
      if (take('error_429')) return { kind: 'error_429', performed: false }
      if (take('html_body')) return byTurns('html_body')
      return undefined
    },
  }
}

function checkPatch(patch: unknown): Partial<Faults> {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) {
    throw new ControlError(400, 'bad_faults', 'Faults are a JSON object.')
  }
  const checked: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(patch)) {
    if (!Object.hasOwn(NO_FAULTS, name)) {
      throw new ControlError(400, 'bad_faults', 'There is no such fault.', { fault: name })
    }
    if (!isAllowed(name, value)) {
      throw new ControlError(400, 'bad_faults', 'This value is out of range.', { fault: name })
    }
    checked[name] = value
  }
  return checked
}

function isAllowed(name: string, value: unknown): boolean {
  if (name === 'scope') return typeof value === 'string' && SCOPES.includes(value)
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) return false
  if (name === 'delay_ms') return Number.isInteger(value) && value <= MAX_DELAY_MS
  if (value < 1) return true
  return Number.isInteger(value) && value <= (name === 'duplicate' ? MAX_DUPLICATES : MAX_COUNT)
}
