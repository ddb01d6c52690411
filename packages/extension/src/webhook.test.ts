import { describe, expect, it } from 'vitest'
import type { WebhookRequest } from './webhook.ts'
import { readJsonBody, singleHeader } from './webhook.ts'

describe('webhook bodies', () => {
  const request = (raw_body: Buffer): WebhookRequest => ({
    method: 'POST',
    path: '/',
    headers: { one: 'a', two: ['a', 'b'] },
    query: {},
    raw_body,
    remote_address: '127.0.0.1',
  })

  it('are read as strict JSON', () => {
    expect(readJsonBody(request(Buffer.from('{"a":"ж"}')))).toEqual({ a: 'ж' })
    const refused = ['', '\u{feff}{}', '{', '{}{}', "{'a':1}", '<html>']
    expect(refused.filter((body) => readJsonBody(request(Buffer.from(body))) !== undefined)).toEqual([])
    expect(readJsonBody(request(Buffer.from([0x22, 0xff, 0x22])))).toBeUndefined()
  })

  it('larger than 256 KiB are not read', () => {
    expect(readJsonBody(request(Buffer.from(`"${'x'.repeat(262_142)}"`)))).toHaveLength(262_142)
    expect(readJsonBody(request(Buffer.from(`"${'x'.repeat(262_143)}"`)))).toBeUndefined()
  })

  it('come with headers that are taken only when there is one', () => {
    expect(singleHeader(request(Buffer.alloc(0)), 'one')).toBe('a')
    expect(singleHeader(request(Buffer.alloc(0)), 'two')).toBeUndefined()
    expect(singleHeader(request(Buffer.alloc(0)), 'three')).toBeUndefined()
  })
})
