import { createHmac } from 'node:crypto'
import path from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startWorld, type World } from '../world.ts'

const SECRET = 'test_secret_of_the_owners_gateway'

let world: World
beforeAll(async () => {
  world = await startWorld((settings) => ({
    ...settings,
    extension_folders: [path.resolve(import.meta.dirname, '../own-gateways')],
    gateways: { ...settings.gateways, acme: { secret_key: SECRET } },
  }))
})
afterAll(() => world?.close())

it('a gateway file dropped into a folder sells, without a build', async () => {
  const customer_id = await world.customer()
  const order = await world.order({ customer_id, product_key: 'minutes_30', gateway: 'acme' })
  expect(order.payment).toMatchObject({ gateway: 'acme', checkout_url: 'https://acme.example/pay' })
  const { external_id: id, id: reference } = order.payment
  const body = JSON.stringify({ id, reference, amount: order.total, currency: order.currency })
  const tell = (mac: string) =>
    world.call('POST', '/webhooks/payments/acme', body, { authorization: '', 'acme-mac': mac })
  const before = await world.digest()
  expect((await tell('0'.repeat(64))).status).toBe(401)
  expect(await world.digest()).toBe(before)
  const mac = createHmac('sha256', SECRET).update(body).digest('hex')
  for (let time = 0; time < 3; time++) expect((await tell(mac)).status).toBe(200)
  const wallet = `/v1/customers/${customer_id}/wallets/minute`
  await world.eventually('granted', async () => {
    return (await world.call<{ balance: number }>('GET', wallet)).body.balance > 0
  })
  await world.app.drain()
  expect((await world.call<{ balance: number }>('GET', wallet)).body.balance).toBe(1800)
  expect((await world.call('GET', '/v1/verification')).body['findings']).toEqual([])
})
