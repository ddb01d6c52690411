import { isGenerated, matchesIn } from './rules-source.ts'
import type { Rule } from './rules-source.ts'

// The words these rules look for are put together from parts, so that this file does not break its own rules.
const MARKS = [
  ['TO', 'DO'],
  ['FIX', 'ME'],
  ['XX', 'X'],
  ['HA', 'CK'],
].map((parts) => parts.join(''))
const HOMES = ['work/(?:main|shared|\\.\\w+)', 'root', 'farm', 'home/\\w+', 'tmp/brief', 'Users/\\w+']

const marks: Rule = {
  name: 'left-over-mark',
  says: `no ${MARKS.join(', ')}: an issue holds what is left to do`,
  find: (files) => {
    const pattern = new RegExp(String.raw`(?<![\w'"])(?:${MARKS.join('|')})(?![\w'"])`, 'g')
    return files
      .filter((file) => /\.(?:tsx?|sql|mjs|sh|ya?ml|css)$|^\.ci\//.test(file.path) && !isGenerated(file))
      .flatMap((file) => matchesIn(file, 'left-over-mark', pattern, (match) => `holds the mark ${match}`))
  },
}

/** A path of one machine is never right on another; addresses such as `/v1/work/…` are not meant. */
const machinePaths: Rule = {
  name: 'machine-path',
  says: 'no path of one machine and no file of a workplace is named',
  find: (files) => {
    const absolute = String.raw`(?:^|[\s'"\x60(=:,<>\[])/(?:${HOMES.join('|')})(?:/|\b)[^\s'"\x60)]*`
    const windows = String.raw`\b[A-Z]:\\Users\\\w+`
    const rooms = 'design|reference|gateways|prototypes|hooks'
    const workplace = String.raw`(?<![\w/.-])shared/(?:${rooms})\b[^\s'"\x60)]*`
    const pattern = new RegExp(`${absolute}|${windows}|${workplace}`, 'gm')
    return files.flatMap((file) =>
      matchesIn(file, 'machine-path', pattern, (match) => `names ${match.replace(/^[^\w/]/, '')}`),
    )
  },
}

/** Hosts a package may come from; everything else belongs to somebody's own set-up. */
const registries: Rule = {
  name: 'registry-host',
  says: 'no registry but the public one is named, and no credential of one',
  find: (files) => {
    const kinds = 'registry|artifactory|nexus|verdaccio|jfrog|codeartifact|npm-proxy'
    const host = String.raw`https?://[\w.-]*(?:${kinds})(?:[\w-]|\.\w)*(?::\d+)?`
    const credential = String.raw`_auth(?:Token)?\s*=\s*[^\s$][^\s]{7,}`
    const lines = files.flatMap((file) =>
      matchesIn(
        file,
        'registry-host',
        new RegExp(`${host}|${credential}`, 'g'),
        (match) => `names ${match.slice(0, 60)}`,
      ).filter(({ detail }) => !/^names https:\/\/registry\.npmjs\.org$/.test(detail)),
    )
    const lock = files.filter((file) => file.path.endsWith('package-lock.json'))
    const addresses = /"resolved": "https?:\/\/(?!registry\.npmjs\.org\/)[^"]*"/g
    return [
      ...lines,
      ...lock.flatMap((file) =>
        matchesIn(file, 'registry-host', addresses, () => 'has a package from another host'),
      ),
    ]
  },
}

/** Every text in every file. */
export const textRules: readonly Rule[] = [marks, machinePaths, registries]
