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
    expect(open.length).toBeLessThanOrEqual(11)
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

/** Whether a test or a group of tests has this title. */
function isTitle(text: string, title: string): boolean {
  return [`'${title}'`, `"${title}"`, `\`${title}\``, `'${title.replaceAll('’', String.raw`\'`)}'`].some(
    (quoted) => text.includes(quoted),
  )
}
