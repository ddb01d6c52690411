import { expect, test } from 'vitest'
import { z } from 'zod'
import { InvalidRequest } from '#kernel/errors'
import { validatorCompiler } from './validation.ts'
import { amount } from './wire.ts'

function complaints(
  schema: z.ZodType,
  data: unknown,
  httpPart = 'body',
): { pointer: string; detail: string }[] {
  const result = validatorCompiler({ schema, method: 'POST', url: '/', httpPart })(data) as {
    error?: unknown
  }
  if (!(result.error instanceof InvalidRequest)) return []
  return result.error.facts['errors'] as { pointer: string; detail: string }[]
}

const pointers = (schema: z.ZodType, data: unknown) => complaints(schema, data).map(({ pointer }) => pointer)

const order = z.strictObject({
  customer_id: z.string(),
  lines: z.array(z.strictObject({ price_id: z.string(), quantity: z.int().min(1) })).min(1),
})

test('every wrong member is named by a JSON pointer', () => {
  const body = {
    customer_id: 7,
    lines: [
      { price_id: 'p', quantity: 0 },
      { price_id: 'p', quantity: 1.5 },
    ],
  }
  expect(pointers(order, body)).toEqual(['/customer_id', '/lines/0/quantity', '/lines/1/quantity'])
})

test('a missing member is called missing', () => {
  expect(complaints(order, { lines: [{ price_id: 'p' }] })).toEqual([
    { pointer: '/customer_id', detail: 'is missing' },
    { pointer: '/lines/0/quantity', detail: 'is missing' },
  ])
})

test('unknown members are named one by one', () => {
  const body = {
    customer_id: 'c',
    lines: [{ price_id: 'p', quantity: 1, price: 1 }],
    user_id: 1,
    discount: 2,
  }
  expect(pointers(order, body)).toEqual(['/lines/0/price', '/user_id', '/discount'])
})

test('a body that is not there lacks its members; one that may be absent is absent', () => {
  expect(pointers(order, null)).toEqual(['/customer_id', '/lines'])
  expect(pointers(order, undefined)).toEqual(['/customer_id', '/lines'])
  const optional = z.strictObject({ amount: amount.optional() })
  const compiled = validatorCompiler({ schema: optional, method: 'POST', url: '/', httpPart: 'body' })
  expect(compiled(null)).toEqual({ value: {} })
  const whole = validatorCompiler({ schema: optional.optional(), method: 'POST', url: '/', httpPart: 'body' })
  expect(whole(null)).toEqual({ value: undefined })
})

test('a body of another kind is refused at its root', () => {
  for (const body of [[], 'text', 7, true]) expect(pointers(order, body)).toEqual([''])
})

test('names with slashes and tildes are escaped in pointers', () => {
  expect(pointers(z.strictObject({}), { 'a/b~c': 1 })).toEqual(['/a~1b~0c'])
  expect(pointers(z.record(z.string(), z.string()), { 'a/b': 1 })).toEqual(['/a~1b'])
})

test('headers are named as such, members of a query as they are', () => {
  const schema = z.object({ limit: z.coerce.number().int().max(200) })
  expect(complaints(schema, { limit: '500' }, 'querystring')[0]?.pointer).toBe('/limit')
  expect(complaints(schema, { limit: '500' }, 'headers')[0]?.pointer).toBe('/headers/limit')
})

test('of several shapes the complaint is about the one that was meant', () => {
  const either = z.union([
    z.strictObject({ seconds: z.int() }),
    z.strictObject({ minutes: z.int(), note: z.string() }),
  ])
  expect(pointers(either, { seconds: 'x' })).toEqual(['/seconds'])
  expect(pointers(z.object({ value: z.union([z.int(), z.boolean()]) }), { value: 'x' })).toEqual(['/value'])
  const kinds = z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('a') }),
    z.object({ kind: z.literal('b') }),
  ])
  expect(pointers(z.object({ item: kinds }), { item: { kind: 'c' } })).toEqual(['/item/kind'])
})

test('inherited members are no members', () => {
  expect(complaints(z.object({ toString: z.string() }), {})).toEqual([
    { pointer: '/toString', detail: 'is missing' },
  ])
})

test('an answer to a body made to be wrong stays short', () => {
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`${i}${'x'.repeat(500)}`, 1]))
  const found = complaints(z.strictObject({}), many)
  expect(found).toHaveLength(20)
  expect(Math.max(...found.map(({ pointer }) => pointer.length))).toBeLessThanOrEqual(200)
})

test('amounts are integers from 1 to 2^53 − 1 and nothing like it', () => {
  const schema = z.strictObject({ amount })
  for (const good of [1, 9_007_199_254_740_991]) expect(pointers(schema, { amount: good })).toEqual([])
  for (const bad of [
    0,
    -1,
    1.5,
    9_007_199_254_740_992,
    1e21,
    '5',
    '1e3',
    null,
    true,
    [5],
    {},
    NaN,
    Infinity,
  ]) {
    expect(pointers(schema, { amount: bad })).toEqual(['/amount'])
  }
})
