import { readdirSync } from 'node:fs'
import path from 'node:path'
import { checkName, type Draft, readText } from './draft.ts'

const FOLDER = 'docs/decisions'
const LIST = `${FOLDER}/README.md`

/** The next decision record and its line in the list of decisions. */
export function newAdr(root: string, title: string, today: Date): Draft {
  checkName(title, /^[A-Za-z][A-Za-z0-9 ,()'-]{3,79}$/, 'a title of 4 to 80 letters, digits and spaces')
  const numbers = readdirSync(path.join(root, FOLDER)).flatMap((file) => {
    const match = /^(\d{4})-.*\.md$/.exec(file)
    return match ? [Number(match[1])] : []
  })
  const number = Math.max(0, ...numbers) + 1
  const slug = title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
  const name = `${String(number).padStart(4, '0')}-${slug}.md`
  const line = `- [${number}. ${title}](${name})\n`
  return {
    files: { [`${FOLDER}/${name}`]: textOf(number, title, today) },
    edits: { [LIST]: `${readText(root, LIST).trimEnd()}\n${line}` },
    next: [
      `write ${FOLDER}/${name} in 30 to 50 lines; change ARCHITECTURE.md or STYLE.md where it changes a rule`,
    ],
  }
}

function textOf(number: number, title: string, today: Date): string {
  return `# ${number}. ${title}

Accepted ${today.toISOString().slice(0, 10)}.

## Context

What forces a decision, with figures where there are any.

## Decision

What we do, in the present tense.

## Consequences

What gets easier, what gets harder, what enforces it.

## Alternatives

What else was considered, and why it was not taken.
`
}
