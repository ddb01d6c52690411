import { createCursors } from '#kernel/page'
import { createDb } from '#kernel/db'
import { databaseClock } from '#kernel/clock'
import { createApiKey, listApiKeys, programAsMaker, revokeApiKey } from '#modules/identity'
import { SCOPES } from '#http/who'
import { boot } from './boot.ts'

/** `keys create NAME [SCOPE …]`, `keys list`, `keys revoke ID`. */
export async function keysCommand([verb, ...words]: readonly string[]): Promise<void> {
  const { database, config } = await boot()
  const db = createDb({ url: database.url, max: 2 })
  const clock = databaseClock()
  try {
    if (verb === 'create' && words[0] !== undefined) {
      const [name, ...scopes] = words
      const unknown = scopes.find(
        (scope) => scope !== '*' && !SCOPES.includes(scope as (typeof SCOPES)[number]),
      )
      if (unknown !== undefined) throw new Error(`there is no scope ${unknown}; scopes: ${SCOPES.join(' ')}`)
      const key = await db.transact((tx) =>
        createApiKey(tx, clock, {
          mode: config.mode,
          maker: programAsMaker('command'),
          key: { name, scopes: scopes.length > 0 ? scopes : ['*'] },
        }),
      )
      process.stdout.write(
        `${key.secret}\nThis is shown once. Id ${key.id}, scopes ${key.scopes.join(' ')}.\n`,
      )
    } else if (verb === 'list') {
      const page = await listApiKeys(db, createCursors(Buffer.alloc(32)), { limit: 200 })
      for (const key of page.items) {
        const state = key.revoked_at === null ? '' : ' (revoked)'
        process.stdout.write(`${key.id}  ${key.name}  ${key.scopes.join(' ')}${state}\n`)
      }
    } else if (verb === 'revoke' && words[0] !== undefined) {
      const id = words[0]
      await db.transact((tx) => revokeApiKey(tx, clock, id))
      process.stdout.write(`${id} is revoked.\n`)
    } else {
      process.stderr.write('keys create NAME [SCOPE …] | keys list | keys revoke ID\n')
      process.exitCode = 2
    }
  } finally {
    await db.close()
    await database.stop()
  }
}
