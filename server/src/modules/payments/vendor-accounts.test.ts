import { CompiledQuery } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startWorld, type World } from '../../../test/world.ts'
import { customerOfAccount } from './vendor-accounts.ts'

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())

it('a buyer an app names is found by our id of him, by the owner’s, and nobody by another’s', async () => {
  const id = await world.customer('anna-7')
  const find = (account_id: string) => customerOfAccount(world.app.db, account_id)
  expect(await find(id)).toBe(id)
  expect(await find('anna-7')).toBe(id)
  expect(await find('external_id:anna-7')).toBe(id)
  for (const nobody of ['cus_absent', 'usr_absent', 'boris-8', '']) expect(await find(nobody)).toBeUndefined()
})

it('a failure while a buyer is looked for is no absence of him', async () => {
  const look = world.app.db.transact(async (tx) => {
    await tx.executeQuery(CompiledQuery.raw('select 1 / 0')).catch(() => undefined)
    return customerOfAccount(tx, 'usr_1')
  })
  await expect(look).rejects.toThrow('aborted')
})
