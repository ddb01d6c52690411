import { inspect } from 'node:util'
import { expect } from 'vitest'

/** Fails when a secret, in any usual encoding, stands in an error (message, stack, causes) or in a value. */
export function expectNoSecret(thing: unknown, secrets: readonly string[]): void {
  const text = inspect(thing, { depth: 10, maxStringLength: null, maxArrayLength: null, showHidden: true })
  // The secret itself is not printed by a failing test either.
  expect(secrets.filter((secret) => text.includes(secret)).length, 'secrets that are told').toBe(0)
}

/** What a call came to: its value, or the error it threw. */
export async function outcomeOf<T>(
  call: Promise<T>,
): Promise<{ value: T; error?: undefined } | { value?: undefined; error: Error }> {
  try {
    return { value: await call }
  } catch (error) {
    if (error instanceof Error) return { error }
    throw error
  }
}
