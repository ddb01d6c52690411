import { describe, expect, test } from 'vitest'
import { createSpec, loadSpec } from './openapi.ts'

const yookassa = loadSpec('yookassa')
const good = { amount: { value: '1.00', currency: 'RUB' } }

describe('A published shape', () => {
  test('lets a good body through', () => {
    const body = { ...good, confirmation: { type: 'redirect', return_url: 'https://shop.example' } }
    expect(yookassa.checkBody('POST', '/payments', body)).toEqual([])
  })

  test.each([
    [undefined, '', 'type'],
    [{}, 'amount', 'required'],
    [{ amount: { value: 1, currency: 'RUB' } }, 'amount.value', 'type'],
    [{ amount: { value: '1.00', currency: 'GBP' } }, 'amount.currency', 'enum'],
    [{ ...good, description: 'x'.repeat(129) }, 'description', 'maxLength'],
    [{ ...good, metadata: { order: 5 } }, 'metadata.order', 'type'],
    [{ ...good, confirmation: { type: 'redirect' } }, 'confirmation.return_url', 'required'],
    [{ ...good, confirmation: { type: 'magic' } }, 'confirmation.type', 'enum'],
    [{ ...good, confirmation: 'redirect' }, 'confirmation', 'type'],
    [{ ...good, payment_method_data: { type: 'mobile_balance' } }, 'payment_method_data.phone', 'required'],
    [{ ...good, receipt: { items: [{}] } }, 'receipt.items.0.description', 'required'],
  ])('names the wrong place: %j → %s (%s)', (body, parameter, keyword) => {
    expect(yookassa.checkBody('POST', '/payments', body)).toContainEqual(
      expect.objectContaining({ parameter, keyword }),
    )
  })

  test('finds an operation by its address, the plain one before the one with an id', () => {
    const paddle = loadSpec('paddle')
    const found = ['/transactions', '/transactions/preview', '/transactions/txn_1', '/subscriptions/s/charge']
    expect(found.map((path) => paddle.find('POST', path))).toEqual([
      '/transactions',
      '/transactions/preview',
      undefined,
      '/subscriptions/{subscription_id}/charge',
    ])
    expect(paddle.find('GET', '/transactions/txn_1')).toBe('/transactions/{transaction_id}')
    for (const path of ['/transactions/', '/transactions/a/b', '/nothing', ''])
      expect(paddle.find('GET', path)).toBeUndefined()
  })

  test('knows the query of a listing, by name and by value', () => {
    const check = (query: Record<string, string>) => yookassa.checkQuery('GET', '/payments', query)
    expect(check({ limit: '100', status: 'pending', 'created_at.gte': '2026-01-01T00:00:00.000Z' })).toEqual(
      [],
    )
    expect(check({ limit: '101' })).toMatchObject([{ parameter: 'limit', keyword: 'maximum' }])
    expect(check({ limit: 'ten' })).toMatchObject([{ parameter: 'limit', keyword: 'type' }])
    expect(check({ 'created_at[gte]': '2026' })).toMatchObject([{ keyword: 'unknown' }])
  })

  test('throws for an operation it does not have, which is a mistake of ours', () => {
    expect(() => yookassa.checkBody('POST', '/nothing', {})).toThrow(/has no POST/)
  })
})

describe('Converting OpenAPI', () => {
  const spec = createSpec({
    openapi: '3.0.2',
    paths: {
      '/things': {
        post: {
          requestBody: {
            content: {
              'application/x-www-form-urlencoded': {
                schema: {
                  type: 'object',
                  properties: {
                    above: { type: 'number', minimum: 5, exclusiveMinimum: true },
                    from: { type: 'number', minimum: 5, exclusiveMinimum: false },
                    nothing: { type: 'string', nullable: true },
                    line: { type: 'string', pattern: '^(?s).{1,3}$' },
                    dotall: { type: 'string', pattern: '(?s)^.{1,3}$' },
                    discriminator: { type: 'string' },
                  },
                },
              },
            },
          },
        },
      },
    },
  })
  const check = (body: unknown) => spec.checkBody('post', '/things', body)

  test('boolean limits, nullable, patterns of other engines and odd property names are understood', () => {
    expect(check({ above: 5.1, from: 5, nothing: null, dotall: 'a\nb', discriminator: 'x' })).toEqual([])
    expect(check({ above: 5 })).toMatchObject([{ parameter: 'above', keyword: 'exclusiveMinimum' }])
    expect(check({ dotall: 'a\nbcd' })).toMatchObject([{ parameter: 'dotall', keyword: 'pattern' }])
    expect(check({ discriminator: 1 })).toMatchObject([{ parameter: 'discriminator' }])
  })

  test('a pattern that cannot be compiled is left out instead of breaking the emulator', () => {
    expect(check({ line: 'anything at all' })).toEqual([])
  })
})
