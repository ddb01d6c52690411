import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { reduceSpec } from './reduce-spec.ts'

const SCRIPT = fileURLToPath(new URL('reduce-spec.ts', import.meta.url))
const options = { source: 'A vendor', date: '2026-01-01' }

const makeVendor = () => ({
  openapi: '3.0.2',
  info: { title: 'PROSE', description: 'PROSE' },
  servers: [{ url: 'https://api.example', description: 'PROSE' }],
  tags: [{ name: 'PROSE' }],
  paths: {
    '/things': {
      summary: 'PROSE',
      parameters: [{ $ref: '#/components/parameters/Key' }],
      post: {
        operationId: 'PROSE',
        description: 'PROSE',
        'x-note': 'PROSE',
        requestBody: {
          description: 'PROSE',
          required: true,
          content: {
            'application/json': {
              schema: {
                type: 'object',
                title: 'PROSE',
                properties: {
                  description: { type: 'string', description: 'PROSE', example: 'PROSE', maxLength: 5 },
                  thing: { allOf: [{ $ref: '#/components/schemas/Thing' }, { description: 'PROSE' }] },
                },
                required: ['thing'],
              },
              example: { thing: 'PROSE' },
            },
          },
        },
        responses: { '200': { description: 'PROSE', headers: { a: {} }, $ref: '#/components/responses/Ok' } },
      },
    },
    '/other': { get: { responses: { '200': { description: 'PROSE' } } } },
  },
  components: {
    parameters: {
      Key: {
        name: 'Key',
        in: 'header',
        required: true,
        description: 'PROSE',
        schema: { type: 'string', default: 'PROSE' },
      },
    },
    responses: {
      Ok: {
        description: 'PROSE',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Base' } } },
      },
    },
    schemas: {
      Base: {
        type: 'object',
        properties: { kind: { type: 'string', enum: ['a', 'b'] } },
        discriminator: {
          propertyName: 'kind',
          mapping: { a: '#/components/schemas/Thing', b: '#/components/schemas/Unused' },
        },
      },
      Thing: {
        allOf: [
          { $ref: '#/components/schemas/Base' },
          { properties: { self: { $ref: '#/components/schemas/Thing' } } },
        ],
      },
      Unused: { type: 'string' },
      Event: { type: 'object', properties: { object: { $ref: '#/components/schemas/Unused' } } },
    },
  },
})
const vendor = makeVendor()

describe('Reducing a vendor’s file', () => {
  test('keeps shapes, limits and a property called description, and no text', () => {
    const reduced = reduceSpec(vendor, { ...options, paths: /^\/things$/ })
    expect(JSON.stringify(reduced)).not.toContain('PROSE')
    expect(reduced['x-reduced-from']).toEqual(options)
    expect(reduced.paths['/things']).toEqual({
      parameters: [{ $ref: '#/components/parameters/Key' }],
      post: {
        requestBody: {
          required: true,
          content: {
            'application/json': {
              schema: {
                type: 'object',
                properties: {
                  description: { type: 'string', maxLength: 5 },
                  thing: { $ref: '#/components/schemas/Thing' },
                },
                required: ['thing'],
              },
            },
          },
        },
        responses: { '200': { $ref: '#/components/responses/Ok' } },
      },
    })
  })

  test('keeps only components that are reached, and mends what names the others', () => {
    const { components } = reduceSpec(vendor, { ...options, paths: /^\/things$/ })
    expect(Object.keys(components['schemas'] ?? {})).toEqual(['Base', 'Thing'])
    expect(components['schemas']?.['Base']).toMatchObject({
      discriminator: { mapping: { a: '#/components/schemas/Thing' } },
    })
    expect(JSON.stringify(components)).not.toContain('Unused')
    expect(components['parameters']).toEqual({
      Key: { name: 'Key', in: 'header', required: true, schema: { type: 'string' } },
    })
  })

  test('can keep named schemas, and leave the responses out', () => {
    const kept = reduceSpec(vendor, { ...options, keep: /^Event$/, responses: false })
    expect(Object.keys(kept.components['schemas'] ?? {})).toEqual(['Base', 'Event', 'Thing', 'Unused'])
    expect(JSON.stringify(kept.paths)).not.toContain('responses')
  })

  test('leaves the input as it was', () => {
    reduceSpec(vendor, { ...options, paths: /^\/things$/ })
    expect(vendor).toEqual(makeVendor())
  })

  test.each([[null], [{}], [{ openapi: '2.0' }], [{ openapi: '3.1.0', paths: {} }], ['openapi: 3']])(
    'refuses %j',
    (document) => {
      expect(() => reduceSpec(document, options)).toThrow(/OpenAPI 3|No path/)
    },
  )

  test('works from the command line, for JSON and YAML alike', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'reduce-spec-'))
    const [json, yaml] = [path.join(folder, 'v.json'), path.join(folder, 'v.yaml')]
    await writeFile(json, JSON.stringify(vendor))
    // JSON is YAML.
    await writeFile(yaml, JSON.stringify(vendor))
    const outputs = await Promise.all(
      [json, yaml].map(async (from) => {
        const argv = [
          SCRIPT,
          from,
          `${from}.out`,
          '--paths',
          '^/things$',
          '--source',
          'V',
          '--date',
          '2026-01-01',
        ]
        await promisify(execFile)(process.execPath, argv)
        return readFile(`${from}.out`, 'utf8')
      }),
    )
    expect(outputs[0]).toBe(outputs[1])
    expect(JSON.parse(outputs[0] ?? '')).toMatchObject({
      'x-reduced-from': { source: 'V', date: '2026-01-01' },
    })
    await rm(folder, { recursive: true })
  })
})
