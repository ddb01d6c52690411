import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { baseUrlField, isLocalUrl, secretField, textField } from './config-fields.ts'

describe('config fields', () => {
  it('refuse a secret under 16 bytes and count bytes, not characters', () => {
    const field = secretField('Key')
    expect(field.safeParse('').success).toBe(false)
    expect(field.safeParse('x'.repeat(15)).success).toBe(false)
    expect(field.safeParse(`${' '.repeat(20)}short`).success).toBe(false)
    expect(field.parse('  0123456789abcdef\n')).toBe('0123456789abcdef')
    expect(field.safeParse('ключключ').success).toBe(true)
  })

  it('mark a secret in the form drawn from the schema', () => {
    const form = z.toJSONSchema(z.object({ key: secretField('Key'), name: textField('Name') }), {
      io: 'input',
    })
    expect(form.properties).toMatchObject({ key: { secret: true, title: 'Key' }, name: { title: 'Name' } })
    expect(form.properties?.['name']).not.toHaveProperty('secret')
  })

  it('take an https address, or http on this machine only', () => {
    const field = baseUrlField('API', 'https://api.example/v3')
    expect(field.parse(undefined)).toBe('https://api.example/v3')
    expect(field.parse('http://127.0.0.1:9101/v3/')).toBe('http://127.0.0.1:9101/v3')
    expect(field.parse('http://[::1]:9101')).toBe('http://[::1]:9101')
    const refused = [
      'http://api.example',
      'http://127.0.0.1.example.com',
      'http://localhost.example',
      'ftp://127.0.0.1',
      'api.example',
      'https://user:pass@api.example',
      'https://api.example/?a=1',
      'https://api.example/#a',
      'javascript:alert(1)',
      '',
    ]
    expect(refused.filter((address) => field.safeParse(address).success)).toEqual([])
  })

  it('tell this machine from every other', () => {
    const here = ['http://127.0.0.1:1/a', 'https://localhost', 'http://[::1]:9']
    const elsewhere = ['https://api.example', 'http://127.0.0.1.example', 'http://10.0.0.1', 'localhost', '']
    expect([...here, ...elsewhere].filter((url) => isLocalUrl(url))).toEqual(here)
  })
})
