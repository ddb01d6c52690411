import { describe, expect, test } from 'vitest'
import { repositoryFiles } from '../repository-files.ts'

/** The list of attacks and the tests say the same. */
const files = repositoryFiles()
const textOf = (name: string): string | undefined => files.find((file) => file.path === name)?.text
const rows = [...(textOf('docs/security/attacks.md') ?? '').matchAll(/^\| (A\d+) \| (.+) \| (.+) \|$/gm)].map(
  ([, id = '', about = '', places = '']) => ({
    id,
    about,
    places: [...places.matchAll(/`([^`]+)`/g)].map(([, place = '']) => place),
  }),
)
/** Numbers that titles of tests or groups of tests begin with. */
function attacksOf(text: string): Set<string> {
  const titles = [...text.matchAll(/(?:\b(?:test|it|describe)\b[^'"`\n]*|\]\))\(\s*['"`](A\d+(?:, A\d+)*):/g)]
  return new Set(titles.flatMap(([, ids = '']) => ids.split(', ')))
}

const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => `A${from + index}`)
/** What was promised to be tried. */
const PROMISED = [...range(15, 36), ...range(43, 45), ...range(49, 57), 'A59']

describe('docs/security/attacks.md', () => {
  test('has a row for every attack that was promised', () => {
    expect(rows.map((row) => row.id)).toEqual(PROMISED)
  })

  test.each(rows.map((row) => [row.id, row.about, row.places] as const))(
    '%s (%s) is tried where it says',
    (id, _about, places) => {
      expect(places.length).toBeGreaterThan(0)
      for (const place of places) {
        expect([place, attacksOf(textOf(place) ?? '').has(id)]).toEqual([place, true])
      }
    },
  )
})
