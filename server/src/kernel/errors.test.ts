import { describe, expect, test } from 'vitest'
import {
  assert,
  AssertionFailed,
  InvalidRequest,
  InvalidState,
  NotFound,
  OperationalError,
  sqlState,
  TooManyRequests,
  unreachable,
  violatedConstraint,
} from './errors.ts'
import { wireJson } from './json.ts'

describe('errors', () => {
  test('carry a code, a status, a title, what happened and its facts', () => {
    const error = new InvalidState('The order is paid.', { order_id: 'ord_1', amount: 5n })
    expect(error).toMatchObject({
      name: 'InvalidState',
      code: 'invalid_state',
      status: 409,
      message: 'The order is paid.',
      facts: { order_id: 'ord_1', amount: 5n },
    })
    expect(error).toBeInstanceOf(Error)
    expect(new NotFound('x').facts).toEqual({})
  })

  test('a malformed request names every bad member', () => {
    const error = new InvalidRequest([
      { pointer: '/a', detail: 'is missing' },
      { pointer: '/b/0', detail: 'is too long' },
    ])
    expect(error.message).toBe('/a: is missing; /b/0: is too long')
    expect(error.facts).toEqual({
      errors: [
        { pointer: '/a', detail: 'is missing' },
        { pointer: '/b/0', detail: 'is too long' },
      ],
    })
  })

  test('those that pass say when to come again, and keep their cause', () => {
    const cause = new Error('ECONNREFUSED')
    expect(new OperationalError('database_unavailable', 'x', { cause })).toMatchObject({
      status: 503,
      retry_after_seconds: 1,
      cause,
    })
    expect(new TooManyRequests('x', 30).facts).toEqual({ retry_after_seconds: 30 })
  })

  test('an assertion is a mistake of ours, not of the caller', () => {
    expect(() => assert(0, 'must be')).toThrow(AssertionFailed)
    expect(() => assert('x', 'must be')).not.toThrow()
    expect(() => unreachable('odd' as never, 'status')).toThrow('status: unexpected odd')
  })
})

describe('what the database said', () => {
  test('a SQLSTATE is told from codes of the system', () => {
    expect(sqlState({ code: '23505' })).toBe('23505')
    expect(sqlState({ code: 'P0001' })).toBe('P0001')
    for (const error of [
      { code: 'EPIPE' },
      { code: 'EPERM' },
      { code: 'ECONNRESET' },
      { code: 5 },
      {},
      null,
      undefined,
      'x',
    ]) {
      expect(sqlState(error)).toBeUndefined()
    }
  })

  test('the constraint that was violated, for violations alone', () => {
    expect(violatedConstraint({ code: '23505', constraint: 'customers_external_id' })).toBe(
      'customers_external_id',
    )
    expect(violatedConstraint({ code: '23514', constraint: 'amount_check' })).toBe('amount_check')
    expect(violatedConstraint({ code: '42P01', constraint: 'x' })).toBeUndefined()
    expect(violatedConstraint({ code: '23505' })).toBeUndefined()
  })
})

describe('JSON on the wire', () => {
  test('amounts are integers, moments ISO texts, absent members are absent', () => {
    expect(
      wireJson({ amount: 9_007_199_254_740_991n, at: new Date(0), gone: undefined, none: null, list: [1n] }),
    ).toBe('{"amount":9007199254740991,"at":"1970-01-01T00:00:00.000Z","none":null,"list":[1]}')
  })

  test('an amount that a reader would get wrong is not sent', () => {
    expect(() => wireJson({ amount: 9_007_199_254_740_992n })).toThrow(AssertionFailed)
    expect(() => wireJson([-9_007_199_254_740_992n])).toThrow(AssertionFailed)
  })
})
