import { describe, expect, test } from 'vitest'
import { abuseLimits } from '../src/kernel/abuse-limits.ts'
import { ASVS_REQUIREMENTS } from './asvs-requirements.ts'
import { repositoryFiles } from './repository-files.ts'

/** The page of the standard, its list of numbers and the tests say the same. */
const files = new Map(repositoryFiles().map((file) => [file.path, file.text]))
const page = files.get('docs/security/asvs.md') ?? ''
const rows = page.split('\n').flatMap((line) => {
  const match = /^\| (\d+\.\d+\.\d+) \| [12] \| (.+?) \| (.+) \|$/.exec(line)
  return match ? [{ id: match[1] ?? '', what: match[2] ?? '', shown: match[3] ?? '' }] : []
})
const REASON = /^(Not applicable|\*\*Open\*\*|The owner’s): (.+)$/

describe('docs/security/asvs.md', () => {
  test('has one row for each requirement of levels 1 and 2, and no other', () => {
    expect(ASVS_REQUIREMENTS).toHaveLength(253)
    expect(rows.map(({ id }) => id)).toEqual([...ASVS_REQUIREMENTS])
  })

  test('names tests that are there by file and title, or a reason', () => {
    const wrong: string[] = []
    for (const { id, shown } of rows) {
      const [, , reason] = REASON.exec(shown) ?? []
      if (reason !== undefined) {
        if (reason.length < 10) wrong.push(`${id}: no reason`)
        continue
      }
      for (const place of shown.split('<br>')) {
        const [, file = '', title = ''] = /^`([^`]+\.test\.ts)` › (.+)$/.exec(place) ?? []
        if (title === '' || !isTitle(files.get(file) ?? '', title)) wrong.push(`${id}: ${place}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('shows most of what applies, and counts what is open', () => {
    const open = rows.filter(({ shown }) => shown.startsWith('**Open**'))
    const tested = rows.filter(({ shown }) => shown.startsWith('`'))
    expect(tested.length).toBeGreaterThan(160)
    // Fewer is better; more needs a look at whether something that was shown is not any more.
    expect(open.length).toBeLessThanOrEqual(1)
  })
})

test('docs/security/limits.md has every limit with its number', () => {
  const listed = [
    ...(files.get('docs/security/limits.md') ?? '').matchAll(/^\| ([a-z_ ,-]+) \| (\d+) \|/gm),
  ].map(([, name = '', count = '']) => `${name}: ${count}`)
  const sources = [...files].filter(([file]) => /^server\/src\/(?!.*\.test\.ts)/.test(file))
  const declared = sources.flatMap(([, text]) =>
    [...text.matchAll(/name: '([^']+)', count: ([\d_]+), period_ms/g)].map(
      ([, name = '', count = '']) => `${name}: ${Number(count.replaceAll('_', ''))}`,
    ),
  )
  const acts = (['checkout', 'promo_entry'] as const).flatMap((act) =>
    [...abuseLimits(act, { account: 'x', network: 'x' }), ...abuseLimits(act, { account: 'x' })].map(
      ({ rule }) => `${rule.name}: ${rule.count}`,
    ),
  )
  expect(declared.length).toBeGreaterThan(10)
  expect(listed.toSorted()).toEqual([...declared, ...acts].toSorted())
})

/** What the program's own code matches, without what tests and their fixtures say. */
const inCode = (pattern: RegExp): string[] =>
  [...files]
    .filter(([file]) => /^(server|packages\/\w+)\/src\/(?!.*(\.test\.ts|fixtures\/))/.test(file))
    .flatMap(([, text]) => [...text.matchAll(pattern)].map((match) => match.slice(1).join('')))
const section = (title: string): string => {
  const inventory = files.get('docs/security/inventory.md') ?? ''
  return inventory.split('\n## ').find((part) => part.startsWith(title)) ?? ''
}

describe('docs/security/inventory.md has', () => {
  test('11.1.2: every algorithm the code asks for', () => {
    const asked = inCode(
      /(?:createHmac|createHash|\bhash|create(?:Dec|C)ipheriv|hkdfSync|generateKeyPairSync)\('([\w-]+)'/g,
    )
    expect(asked.length).toBeGreaterThan(20)
    const listed = section('Cryptography')
    expect([...new Set(asked)].filter((name) => !listed.includes(`\`${name}\``))).toEqual([])
    expect(listed).toContain('argon2id')
  })

  test('13.1.1: every address the code knows of', () => {
    const known = inCode(/https:\/\/([a-z0-9-]+(?:\.[a-z0-9-]+)+)/g).filter(
      (host) => !/\bexample(\.com)?$/.test(host),
    )
    expect(known.length).toBeGreaterThan(10)
    const listed = section('Whom the server speaks to')
    expect([...new Set(known)].filter((host) => !listed.includes(`\`${host}\``))).toEqual([])
  })

  test('14.1.2: everything that is sealed', () => {
    const sealing = files.get('server/src/modules/admin/reports/sealed-queries.ts') ?? ''
    const places = [...sealing.matchAll(/select '([^']+)'/g)].map(([, place = '']) => place)
    expect(places.length).toBeGreaterThan(5)
    const listed = section('Kinds of data')
    expect(places.filter((place) => !listed.includes(place))).toEqual([])
  })

  test('16.1.1: every act the audit log has a name for', () => {
    const acts = new Set(inCode(/action: '([a-z_]+\.[a-z_]+)'/g))
    expect(acts.size).toBeGreaterThan(40)
    const listed = section('What is logged')
    expect([...acts].filter((act) => !listed.includes(`\`${act}\``))).toEqual([])
  })

  test('15.1.3: what is costly, with its bound', () => {
    const bounds = section('What is costly').match(/^\| .+ \| .+ \|$/gm) ?? []
    expect(bounds.length).toBeGreaterThan(8)
  })
})

test('15.1.1: SECURITY.md says how soon holes are mended', () => {
  const [, promised = ''] = (files.get('SECURITY.md') ?? '').split('## How soon holes are mended')
  expect(promised.match(/^\| .+ \| (\d+ days|the next release) \|$/gm)).toHaveLength(4)
})

test('1.2.9: no regular expression is made of what came from outside', () => {
  const made = [...files]
    .filter(
      ([file, text]) =>
        /^(server|packages\/\w+)\/src\/(?!.*\.test\.ts)/.test(file) && /\bRegExp\(/.test(text),
    )
    .map(([file]) => file)
  // Of prefixes of ids, names of a vendor's elements, and names of secrets: all are constants of ours.
  expect(made.toSorted()).toEqual([
    'server/src/kernel/ids.ts',
    'server/src/kernel/log-redaction.ts',
    'server/src/modules/payments/gateways/robokassa/api.ts',
  ])
})

/** Whether a test or a group of tests has this title. */
function isTitle(text: string, title: string): boolean {
  return [`'${title}'`, `"${title}"`, `\`${title}\``, `'${title.replaceAll('’', String.raw`\'`)}'`].some(
    (quoted) => text.includes(quoted),
  )
}
