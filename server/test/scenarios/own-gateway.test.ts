import { spawnSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { BaseSettings, Emulator, EmulatorOptions } from '@kopilka/emulators/emulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPeerWorld, type PeerWorld } from '../peer-world.ts'
import { ROOT } from '../repository-files.ts'

const SECRET = 'test_secret_of_the_owners_gateway'
const OWN = path.resolve(import.meta.dirname, '../own-gateways')
const MINUTES = 1800

let folder: string
let vendor: Emulator
let world: PeerWorld
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kopilka-own-gateway-'))
  vendor = await startDrafted()
  world = await startPeerWorld(
    {
      acme: { secret_key: SECRET },
      'acme-own': { shop_id: '1', secret_key: SECRET, base_url: vendor.base_url },
    },
    [OWN, path.join(OWN, 'drafted')],
  )
  vendor.control.begin({ webhook_url: `${world.base_url}/webhooks/payments/acme-own` })
})
afterAll(async () => {
  await world?.close()
  await vendor?.close()
  rmSync(folder, { recursive: true, force: true })
})

/** The vendor as `npm run new own-gateway acme-own` drafts it, to the letter. */
async function startDrafted(): Promise<Emulator> {
  // The command writes into the repository it stands in, so it stands in a copy.
  for (const part of ['scripts', 'server/test/module-order.ts'])
    cpSync(path.join(ROOT, part), path.join(folder, part), { recursive: true })
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
  const words = [path.join(folder, 'scripts/new.ts'), 'own-gateway', 'acme-own']
  const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 30_000 })
  if (status !== 0) throw new Error(`nothing was drafted: ${stderr}`)
  const file = path.join(folder, 'extensions/gateways/acme-own/emulator.ts')
  const drafted = (await import(pathToFileURL(file).href)) as {
    startVendor: (options: EmulatorOptions<BaseSettings & { secret_key: string }>) => Promise<Emulator>
  }
  return drafted.startVendor({ settings: { secret_key: SECRET }, retry_scale: 0.001, hold_ms: 300 })
}

it('a gateway file dropped into a folder sells, without a build', async () => {
  const customer_id = await world.customer()
  const order = await world.order({ customer_id, product_key: 'minutes_30', gateway: 'acme' })
  expect(order.payment).toMatchObject({ gateway: 'acme', checkout_url: 'https://acme.example/pay' })
  const { external_id: id, id: reference } = order.payment
  const body = JSON.stringify({ id, reference, amount: order.total, currency: order.currency })
  const tell = (mac: string) => world.tell('acme', body, { 'acme-mac': mac })
  const before = await world.digest()
  expect((await tell('0'.repeat(64))).status).toBe(401)
  expect(await world.digest()).toBe(before)
  const mac = createHmac('sha256', SECRET).update(body).digest('hex')
  for (let time = 0; time < 3; time++) expect((await tell(mac)).status).toBe(200)
  await world.becomes(order.payment.id, 'succeeded')
  await world.app.drain()
  expect(await world.balance(customer_id)).toBe(MINUTES)
  expect(await world.booksAreClean()).toEqual([])
})

describe('the drafted gateway with its holes filled, through the whole server', () => {
  const buy = async () => {
    const customer_id = await world.customer()
    const order = await world.order({ customer_id, product_key: 'minutes_30', gateway: 'acme-own' })
    return { customer_id, order, payment_id: order.payment.id, vendor_id: order.payment.external_id }
  }
  const made = (payment_id: string) =>
    (vendor.control.objects({ limit: 1000 }).items as { id: string; reference: string }[]).filter(
      ({ reference }) => reference === payment_id,
    )

  it('sends the buyer to the vendor’s page, and grants what is paid there once', async () => {
    const { customer_id, order, payment_id, vendor_id } = await buy()
    expect(order.payment.checkout_url).toBe(`${vendor.base_url}/pay/${vendor_id}`)
    vendor.control.faults({ duplicate: 50 })
    vendor.control.complete(vendor_id, 'succeeded')
    vendor.control.faults({ duplicate: 0 })
    await world.becomes(payment_id, 'succeeded')
    await vendor.control.settled()
    await world.handled()
    expect(await world.balance(customer_id)).toBe(MINUTES)
    expect(await world.grants(order.id)).toBe(1)
  })

  it('believes no notification that the vendor’s own books do not bear out', async () => {
    const { payment_id, vendor_id } = await buy()
    const before = await world.digest()
    expect(vendor.control.forge(vendor_id)).toBeGreaterThan(0)
    await vendor.control.settled()
    await world.handled()
    expect(await world.digest()).toBe(before)
    expect((await world.payment(payment_id)).status).toBe('pending')
  })

  it('needs no notification: what was paid is found by asking, once', async () => {
    const { customer_id, order, payment_id, vendor_id } = await buy()
    vendor.control.faults({ lose: 1 })
    vendor.control.complete(vendor_id, 'succeeded')
    await Promise.all([world.look(payment_id), world.look(payment_id)])
    await world.becomes(payment_id, 'succeeded')
    expect(await world.balance(customer_id)).toBe(MINUTES)
    expect(await world.grants(order.id)).toBe(1)
  })

  it('ends in one payment and one grant when the vendor makes it and does not answer', async () => {
    const customer_id = await world.customer()
    const price_id = await world.price('minutes_30')
    const body = { customer_id, gateway: 'acme-own', lines: [{ price_id, quantity: 1 }] }
    const more = { return_url: 'https://shop.example/back', receipt_contact: { email: 'a@example.com' } }
    vendor.control.faults({ timeout_after_charge: 1, lose: 1 })
    const asked = await world.call('POST', '/v1/orders', { ...body, ...more })
    expect([asked.status, asked.body['code']]).toEqual([503, 'gateway_unavailable'])
    const { rows } = await world.app.db.pool.query<{ id: string }>(
      'select id from payments.payments where customer_id = $1',
      [customer_id],
    )
    const [{ id: payment_id } = { id: '' }] = rows
    const [one, ...others] = made(payment_id)
    expect(others).toEqual([])
    vendor.control.complete(one?.id ?? '', 'succeeded')
    await world.look(payment_id)
    await world.becomes(payment_id, 'succeeded')
    expect(await world.balance(customer_id)).toBe(MINUTES)
    expect(made(payment_id)).toHaveLength(1)
  })

  it('ends a payment the buyer gave up, and says plainly that it gives no money back', async () => {
    const { customer_id, payment_id, vendor_id } = await buy()
    vendor.control.complete(vendor_id, 'canceled')
    await world.becomes(payment_id, 'canceled')
    expect(await world.balance(customer_id)).toBe(0)
    const paid = await buy()
    vendor.control.complete(paid.vendor_id, 'succeeded')
    await world.becomes(paid.payment_id, 'succeeded')
    const refund = await world.call('POST', `/v1/payments/${paid.payment_id}/refunds`, { reason: 'asked' })
    expect([refund.status, refund.text]).toEqual([409, expect.stringContaining('cannot')])
    expect(await world.balance(paid.customer_id)).toBe(MINUTES)
    expect(await world.booksAreClean()).toEqual([])
  })
})
