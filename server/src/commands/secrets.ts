import { createDb, type Db } from '#kernel/db'
import { addSecretKey, removeSecretKey, SecretKeysRefused, useSecretKey } from '#kernel/secret-keys'
import type { SecretBox } from '#kernel/secrets'
import { sealedByKey } from '#modules/admin'
import { resealBenefitKey, resealSecondFactors, resealSigningKeys } from '#modules/identity'
import { resealEndpointSecrets } from '#modules/notifications'
import { boot, type Boot } from './boot.ts'

const USAGE = `secrets list          the keys, newest first, and what is sealed under each
secrets add [--last]  a new key, in front; --last: processes only learn it, for where several run
secrets use ID        moves a key to the front; processes seal with it from their next start on
secrets reseal        moves everything to the first key; may run while the server does
secrets remove ID     takes a key away under which nothing is sealed any more
`

/** Changes the keys that seal secrets, without a moment in which nobody is served. */
export async function secretsCommand([verb = '', word]: readonly string[]): Promise<void> {
  const run = VERBS[verb]
  if (run === undefined || (['use', 'remove'].includes(verb) && word === undefined)) {
    process.stderr.write(USAGE)
    process.exitCode = 2
    return
  }
  const booted = await boot()
  const db = createDb({ url: booted.database.url, max: 2 })
  try {
    process.stdout.write(await run(db, booted, word ?? ''))
  } finally {
    await db.close()
    await booted.database.stop()
  }
}

/** What each verb does; answers what to print. */
const VERBS: Readonly<Record<string, (db: Db, booted: Boot, word: string) => Promise<string>>> = {
  list: async (db, { key_ids }) => {
    const sealed = await sealedByKey(db)
    const known = key_ids.map((id, index) => `${id}${index === 0 ? ' (seals)' : ''}`)
    const lost = sealed.filter(({ key_id }) => !key_ids.includes(key_id))
    return [
      ...known.map((id) => `${id}  ${describe(sealed, id.split(' ')[0] ?? '')}\n`),
      ...[...new Set(lost.map(({ key_id }) => key_id))].map(
        (id) => `${id} (not there)  ${describe(sealed, id)}\n`,
      ),
    ].join('')
  },
  add: async (_db, booted, word) => {
    const is_last = word === '--last'
    const id = addSecretKey(fileOf(booted), is_last ? 'last' : 'first')
    const next = is_last
      ? `start every process again, then: secrets use ${id}`
      : 'start the server again, then: secrets reseal'
    return `${id} was added. Back up secrets.key, ${next}\n`
  },
  use: async (_db, booted, id) => {
    useSecretKey(fileOf(booted), id)
    return `${id} seals from the next start on. Start every process again, then: secrets reseal\n`
  },
  reseal: async (db, { settings }) =>
    `${await reseal(db, settings.box)} secrets were moved to the first key.\n`,
  remove: async (db, booted, id) => {
    const left = (await sealedByKey(db)).filter(({ key_id }) => key_id === id)
    if (left.length > 0) {
      throw new SecretKeysRefused(`under ${id} are still ${describe(left, id)}`, 'Run: secrets reseal')
    }
    removeSecretKey(fileOf(booted), id)
    return `${id} was taken away. Start every process again; keep the old backup as long as its dumps.\n`
  },
}

/** Moves everything that is sealed for longer to the first key of the box; answers how much was moved. */
export async function reseal(db: Db, box: SecretBox): Promise<number> {
  let moved = await db.transact((tx) => resealSigningKeys(tx, box))
  moved += await db.transact((tx) => resealEndpointSecrets(tx, box))
  moved += await db.transact((tx) => resealBenefitKey(tx, box))
  for (let after: string | undefined = ''; after !== undefined;) {
    const from: string = after
    const { changed, next } = await db.transact((tx) => resealSecondFactors(tx, box, from))
    moved += changed
    after = next
  }
  return moved
}

/** Throws {@link SecretKeysRefused} when the keys come from the setting: then its owner changes that. */
function fileOf({ config }: Boot): string {
  if (config.secret_keys === undefined) return config.data_directory
  throw new SecretKeysRefused(
    'the keys come from KOPILKA_SECRET_KEYS',
    'Change that: id:base64, by commas, the first one seals, all of them open.',
  )
}

function describe(sealed: Awaited<ReturnType<typeof sealedByKey>>, id: string): string {
  const here = sealed.filter(({ key_id }) => key_id === id)
  return here.map(({ place, count }) => `${count} ${place}`).join(', ') || 'nothing'
}
