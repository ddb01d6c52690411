import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OUTSIDE, startEveryGateway, type EveryGateway, type GatewayId } from '../every-gateway.ts'
import { compareBooks, type Reconciliation } from '../reconciliation-lab.ts'

/** Every gateway's own books against ours, and the commands that look after what vendors tell. */

let lab: EveryGateway
beforeAll(async () => {
  lab = await startEveryGateway()
}, 90_000)
afterAll(() => lab?.close())

const run = (gateway: GatewayId): Promise<Reconciliation & { id: string }> => compareBooks(lab, gateway)
const set = (change: string, id: string): Promise<unknown> =>
  lab.world.app.db.pool.query(`update payments.payments set ${change} where id = $1`, [id])

/** A purchase that is paid and granted. */
async function bought(gateway: GatewayId): Promise<string> {
  const { order } = await lab.paid(gateway)
  await lab.world.becomes(order.payment.id, 'succeeded')
  return order.payment.id
}

/** What a run found of some payments of ours, or of none. */
const kindsOf = ({ differences }: Reconciliation, ids: readonly (string | null)[]): string[] =>
  differences.filter(({ id }) => ids.includes(id)).map(({ kind }) => kind)

/** Vendors that have a list: what only they know is seen. */
const LISTING = OUTSIDE.filter((gateway) => gateway !== 'robokassa' && gateway !== 'rustore')

describe('a comparison with the books of', () => {
  it.each(LISTING)('%s sees what is missing here, missing there and of another amount', async (gateway) => {
    const [fine, hidden, other] = [await bought(gateway), await bought(gateway), await bought(gateway)]
    const invented = await bought('sandbox')
    expect(kindsOf(await run(gateway), [null, fine, hidden, other])).toEqual([])
    await set("gateway = 'sandbox'", hidden)
    await set(`gateway = '${gateway}', external_id = 'never_heard_of_${gateway}'`, invented)
    await set('captured_amount = captured_amount - 1', other)
    const found = await run(gateway)
    await set(`gateway = '${gateway}'`, hidden)
    await set("gateway = 'sandbox'", invented)
    await set('captured_amount = captured_amount + 1', other)
    expect(found.method).toBe('list')
    expect(kindsOf(found, [fine, hidden])).toEqual([])
    expect(kindsOf(found, [null])).toEqual(['payment_missing_here'])
    expect(kindsOf(found, [invented])).toEqual(['payment_missing_at_vendor'])
    expect(kindsOf(found, [other])).toEqual(['payment_amount_differs'])
    const { body } = await lab.world.call<{ items: object[] }>(
      'GET',
      `/v1/reconciliations/${found.id}/differences`,
    )
    expect(body.items).toHaveLength(3)
    // The same again finds the books in order, and what was found stays for a person.
    expect((await run(gateway)).differences).toEqual([])
    expect(await lab.world.booksAreClean()).toEqual([])
  })

  it.each(['rustore', 'robokassa'] as const)(
    '%s, who has no list, sees what is of another amount',
    async (gateway) => {
      const [fine, other] = [await bought(gateway), await bought(gateway)]
      expect(kindsOf(await run(gateway), [null, fine, other])).toEqual([])
      await set('captured_amount = captured_amount - 1', other)
      const found = await run(gateway)
      await set('captured_amount = captured_amount + 1', other)
      expect(found.method).toBe('one_by_one')
      expect(kindsOf(found, [null, fine])).toEqual([])
      expect(kindsOf(found, [other])).toEqual(['payment_amount_differs'])
    },
  )
})

describe('on the command line', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'kopilka-commands-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  /** Runs the program as its owner would, with YooKassa set up as in the lab. */
  function kopilka(...words: string[]): Promise<{ code: number | null; out: string; error: string }> {
    const { gateway, config } = lab.world.app.payments.gateways.get('yookassa')
    const fields = Object.entries(config as Record<string, unknown>).filter(
      ([, value]) => typeof value === 'string',
    )
    const child = spawn(process.execPath, ['server/src/main.ts', ...words], {
      cwd: path.resolve(import.meta.dirname, '../../..'),
      env: {
        PATH: process.env['PATH'],
        DATABASE_URL: lab.world.database_url,
        KOPILKA_DATA_DIR: folder,
        KOPILKA_LOG_LEVEL: 'error',
        ...Object.fromEntries(
          fields.map(([name, value]) => [
            `KOPILKA_GATEWAY_${gateway.id.toUpperCase()}_${name.toUpperCase()}`,
            String(value),
          ]),
        ),
      },
    })
    const said = { out: '', error: '' }
    child.stdout.on('data', (chunk: Buffer) => (said.out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (said.error += chunk.toString()))
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, ...said }))
    })
  }
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10)
  const DAYS = ['--from', day(Date.now() - 86_400_000), '--to', day(Date.now() + 2 * 86_400_000)]

  it('a gateway is compared: exit code 1 with the difference, 2 for what makes no sense', async () => {
    const id = await bought('yookassa')
    await set('captured_amount = captured_amount - 1', id)
    const differing = await kopilka('reconcile', '--gateway', 'yookassa', ...DAYS)
    await set('captured_amount = captured_amount + 1', id)
    expect(differing).toMatchObject({
      code: 1,
      out: expect.stringContaining(`payment_amount_differs  ${id}`),
    })
    const kept = await lab.world.call<{ items: { open_differences: number }[] }>(
      'GET',
      '/v1/reconciliations?gateway=yookassa&limit=1',
    )
    expect(kept.body.items[0]?.open_differences).toBeGreaterThan(0)
    const [nothing, never] = [
      await kopilka('reconcile'),
      await kopilka('reconcile', '--gateway', 'yookassa', '--from', 'never'),
    ]
    expect([nothing.code, never.code, nothing.error]).toEqual([2, 2, expect.stringContaining('--gateway ID')])
  }, 90_000)

  it('notifications that were given up are shown, and handled again when asked', async () => {
    const id = await bought('yookassa')
    const { pool } = lab.world.app.db
    const given_up = await pool.query<{ id: string }>(
      `update payments.inbox set status = 'failed', error = 'the vendor was away'
        where id = (select max(id) from payments.inbox where gateway = 'yookassa' and status = 'handled')
        returning id::text`,
    )
    const event = given_up.rows[0]?.id ?? ''
    expect(await lab.world.app.http.metrics.text()).toContain('kopilka_inbox_failed{gateway="yookassa"} 1')
    expect(await kopilka('inbox', 'list')).toMatchObject({
      code: 0,
      out: expect.stringMatching(new RegExp(`^${event}  yookassa[^]*the vendor was away\\n$`)),
    })
    expect(await kopilka('inbox', 'retry')).toMatchObject({ code: 2 })
    expect(await kopilka('inbox', 'retry', event)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^1 /),
    })
    await lab.world.eventually('it is handled', async () => {
      const { body } = await lab.world.call('GET', `/v1/inbox_events/${event}`)
      return body['status'] === 'handled'
    })
    expect((await lab.world.payment(id)).status).toBe('succeeded')
    expect(await lab.world.booksAreClean()).toEqual([])
  }, 90_000)
})
