import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { frozenClock } from '#kernel/clock'
import { startWorld, type World } from '../../../test/world.ts'
import { differencesFound } from './events.ts'
import type { Gateways, ReadyGateway } from './gateways.ts'
import type { PaymentsKit } from './kit.ts'
import { reconcile } from './reconciliation.ts'
import { reconcileDay, runReconciliation } from './reconciliation-runs.ts'

interface Run {
  id: string
  gateway: string
  from: string
  to: string
  status: string
  method: string | null
  differences: number
  open_differences: number
  error: string | null
}
interface Found {
  id: string
  kind: string
  subject_id: string | null
  external_id: string | null
  status: string
  proposed: string
  note: string | null
  resolved_by: string | null
}
interface Paid {
  id: string
  external_id: string
}

let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.close())

const DAY_MS = 86_400_000
const query = (text: string, values: unknown[] = []) => world.app.db.pool.query(text, values)
const range = () => ({ from: new Date(Date.now() - 3_600_000), to: new Date(Date.now() + 3_600_000) })
const buy = async (): Promise<Paid> => {
  const { payment } = await world.order({ customer_id: await world.customer(), product_key: 'minutes_30' })
  world.yookassa.control.complete(payment.external_id, 'succeeded')
  await world.eventually(
    'paid',
    async () => (await world.call('GET', `/v1/payments/${payment.id}`)).body['status'] === 'succeeded',
  )
  return payment
}
const runs = async (filter = 'gateway=yookassa'): Promise<Run[]> =>
  (await world.call<{ items: Run[] }>('GET', `/v1/reconciliations?${filter}`)).body.items
const differences = async (id: string, filter = ''): Promise<Found[]> =>
  (await world.call<{ items: Found[] }>('GET', `/v1/reconciliations/${id}/differences?${filter}`)).body.items
const resolve = (run: string, id: string, body: unknown = { note: 'refunded by hand' }) =>
  world.call<Found & { code: string }>('POST', `/v1/reconciliations/${run}/differences/${id}/resolve`, body)
/** The kit as it will be at another time, with another look at a gateway. */
function kitAt(at: Date, change: (ready: ReadyGateway) => ReadyGateway = (same) => same): PaymentsKit {
  const { gateways } = world.app.payments
  const changed: Gateways = {
    ...gateways,
    get: (id) => change(gateways.get(id)),
    list: () => gateways.list().map(change),
  }
  return { ...world.app.payments, clock: frozenClock(at), gateways: changed }
}
const withoutList = ({ gateway, ...ready }: ReadyGateway): ReadyGateway => {
  const { listPayments: _payments, listRefunds: _refunds, ...rest } = gateway
  return { ...ready, gateway: rest }
}

describe('a comparison that is kept', () => {
  it('is one run for one time, names each difference once, and tells of new ones once', async () => {
    const told: unknown[] = []
    world.app.payments.events.within(differencesFound, async (_tx, payloads) => void told.push(...payloads))
    const paid = await buy()
    await query(`update payments.payments set captured_amount = 19999 where id = $1`, [paid.id])
    const asked = { gateway: 'yookassa', ...range() }
    const first = await runReconciliation(world.app.db, world.app.payments, asked)
    const again = await runReconciliation(world.app.db, world.app.payments, asked)
    expect(again.id).toBe(first.id)
    const [run, ...more] = await runs()
    expect(more).toEqual([])
    expect(run).toMatchObject({ status: 'done', method: 'list', differences: 1, open_differences: 1 })
    const [found] = await differences(first.id)
    expect(found).toMatchObject({ kind: 'payment_amount_differs', subject_id: paid.id, status: 'open' })
    expect(found?.proposed.length).toBeGreaterThan(20)
    // Another time that overlaps finds the same difference, not a second one.
    const wider = { ...asked, from: new Date(asked.from.getTime() - 1000) }
    const other = await runReconciliation(world.app.db, world.app.payments, wider)
    expect((await differences(other.id)).map(({ id }) => id)).toEqual([found?.id])
    expect(told).toEqual([
      expect.objectContaining({ reconciliation_id: first.id, count: 1, kinds: ['payment_amount_differs'] }),
    ])
    // Nothing was mended by it.
    const { rows } = await query('select captured_amount from payments.payments where id = $1', [paid.id])
    expect(String(rows[0]?.captured_amount)).toBe('19999')
    await query(`update payments.payments set captured_amount = 20000 where id = $1`, [paid.id])
  })

  it('keeps a difference until a person closes it with a note, which the audit log has', async () => {
    const paid = await buy()
    await query(`update payments.payments set captured_amount = 19998 where id = $1`, [paid.id])
    const { id } = await runReconciliation(world.app.db, world.app.payments, {
      gateway: 'yookassa',
      ...range(),
    })
    await query(`update payments.payments set captured_amount = 20000 where id = $1`, [paid.id])
    const found = (await differences(id, 'status=open')).find(({ subject_id }) => subject_id === paid.id)
    const done = await resolve(id, found?.id ?? '')
    expect(done).toMatchObject({ status: 200, body: { status: 'resolved', note: 'refunded by hand' } })
    expect((await differences(id, 'status=open')).map((one) => one.id)).not.toContain(found?.id)
    expect((await differences(id, 'status=resolved')).map((one) => one.id)).toContain(found?.id)
    const second = await resolve(id, found?.id ?? '', { note: 'something else' })
    expect(second).toMatchObject({ status: 409, body: { code: 'invalid_state' } })
    const { rows } = await query(
      `select 1 from identity.audit_log
        where action = 'reconciliation_difference.resolved' and subject_id = $1`,
      [found?.id],
    )
    expect(rows).toHaveLength(1)
    expect((await resolve(id, 'diff_absent')).status).toBe(404)
    expect((await resolve('rec_absent', found?.id ?? '')).status).toBe(404)
    expect((await resolve(id, found?.id ?? '', { note: '' })).status).toBe(400)
    expect((await world.call('GET', '/v1/reconciliations/rec_absent')).status).toBe(404)
    expect((await world.call('GET', '/v1/reconciliations/rec_absent/differences')).status).toBe(404)
    expect((await world.call('GET', `/v1/reconciliations/${id}`)).body).toMatchObject({ id })
  })

  it('is listed in pages', async () => {
    const page = await world.call<{ items: Run[]; next_cursor: string }>('GET', '/v1/reconciliations?limit=1')
    expect(page.body.items).toHaveLength(1)
    const next = await world.call<{ items: Run[] }>(
      'GET',
      `/v1/reconciliations?limit=1&cursor=${encodeURIComponent(page.body.next_cursor)}`,
    )
    expect(next.body.items[0]?.id).not.toBe(page.body.items[0]?.id)
    const three = [await buy(), await buy(), await buy()]
    for (const [index, { id }] of three.entries())
      await query('update payments.payments set captured_amount = $2 where id = $1', [id, 100 + index])
    const { id } = await runReconciliation(world.app.db, world.app.payments, {
      gateway: 'yookassa',
      ...range(),
    })
    for (const paid of three)
      await query('update payments.payments set captured_amount = 20000 where id = $1', [paid.id])
    const seen: string[] = []
    let cursor = ''
    do {
      const { body } = await world.call<{ items: Found[]; next_cursor: string | null }>(
        'GET',
        `/v1/reconciliations/${id}/differences?limit=2${cursor}`,
      )
      seen.push(...body.items.map((one) => one.id))
      cursor = body.next_cursor === null ? '' : `&cursor=${encodeURIComponent(body.next_cursor)}`
    } while (cursor !== '')
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen.length).toBeGreaterThanOrEqual(3)
  })
})

describe('the comparison of each day', () => {
  it('is made once a day for every gateway with books, and made up for after a failure', async () => {
    await query('delete from payments.findings')
    await query('delete from payments.reconciliations')
    const tomorrow = new Date((Math.floor(Date.now() / DAY_MS) + 1) * DAY_MS + 5 * 3_600_000)
    world.yookassa.control.faults({ error_500: 1_000_000, scope: 'all' })
    const told: string[] = []
    const kit = { ...kitAt(tomorrow), notice: (message: string) => void told.push(message) }
    expect(await reconcileDay(world.app.db, kit)).toBe(0)
    expect(told).toEqual(['a gateway could not be compared'])
    expect(await runs()).toMatchObject([{ status: 'failed', method: null, error: expect.any(String) }])
    world.yookassa.control.faults({ error_500: 0, scope: 'operations' })
    expect(await reconcileDay(world.app.db, kit)).toBe(1)
    expect(await reconcileDay(world.app.db, kit)).toBe(0)
    const [run, ...more] = await runs('')
    expect(more).toEqual([])
    const midnight = Math.floor(tomorrow.getTime() / DAY_MS) * DAY_MS
    expect(run).toMatchObject({
      status: 'done',
      error: null,
      from: new Date(midnight - DAY_MS - 6 * 3_600_000).toISOString(),
      to: new Date(midnight).toISOString(),
    })
    // Three days nobody worked: the next call begins where the last one ended.
    const later = kitAt(new Date(tomorrow.getTime() + 3 * DAY_MS))
    expect(await reconcileDay(world.app.db, later)).toBe(1)
    expect((await runs('')).map(({ from }) => from)).toContain(
      new Date(midnight - 6 * 3_600_000).toISOString(),
    )
  })

  it('never turns what was compared into a failure', async () => {
    const asked = { gateway: 'yookassa', ...range() }
    const { id } = await runReconciliation(world.app.db, world.app.payments, asked)
    world.yookassa.control.faults({ error_500: 1_000_000, scope: 'all' })
    await expect(runReconciliation(world.app.db, world.app.payments, asked)).rejects.toThrow()
    world.yookassa.control.faults({ error_500: 0, scope: 'operations' })
    expect((await world.call<Run>('GET', `/v1/reconciliations/${id}`)).body.status).toBe('done')
    const before = (await runs('')).length
    const nonsense = { ...asked, gateway: 'nobody' }
    await expect(runReconciliation(world.app.db, world.app.payments, nonsense)).rejects.toThrow()
    expect(await runs('')).toHaveLength(before)
  })
})

describe('a vendor without a list', () => {
  const look = () => {
    const kit = kitAt(new Date(), withoutList)
    return reconcile(world.app.db, kit, { gateway: 'yookassa', ...range() })
  }

  it('is asked about each payment and refund of ours, and that is said', async () => {
    const [first, second] = [await buy(), await buy()]
    await world.call('POST', `/v1/payments/${first.id}/refunds`, { amount: 5000, reason: 'in part' })
    const calm = await look()
    expect(calm).toMatchObject({ method: 'one_by_one', differences: [] })
    expect(calm.payments_at_vendor).toBeGreaterThanOrEqual(2)
    expect(calm.refunds_at_vendor).toBeGreaterThanOrEqual(1)
    await query(`update payments.payments set captured_amount = 0, status = 'pending' where id = $1`, [
      second.id,
    ])
    await query(`update payments.refunds set amount = 4999 where payment_id = $1`, [first.id])
    const found = (await look()).differences.map(({ kind }) => kind)
    await query(`update payments.payments set captured_amount = 20000, status = 'succeeded' where id = $1`, [
      second.id,
    ])
    await query(`update payments.refunds set amount = 5000 where payment_id = $1`, [first.id])
    expect(found.toSorted()).toEqual(['payment_status_differs', 'refund_amount_differs'])
  })

  it('of test payments is left out by the daily round', async () => {
    const kit = kitAt(new Date(Date.now() + 40 * DAY_MS), withoutList)
    expect(await reconcileDay(world.app.db, kit)).toBe(0)
  })
})
