import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sweepHolds } from '../../src/modules/ledger/index.ts'
import { type PlacedOrder, startWorld, type World } from '../world.ts'

/** Every state of a payment and an order × every command, in a process that does nothing by itself. */
let world: World
let customer_id = ''
beforeAll(async () => {
  world = await startWorld((same) => ({ ...same, roles: ['api'] }))
  customer_id = await world.customer()
})
afterAll(() => world?.close())

type Command = 'capture' | 'cancel' | 'refund' | 'pay_again'
const COMMANDS: Readonly<Record<Command, (order: PlacedOrder) => [string, object]>> = {
  capture: ({ payment }) => [`/v1/payments/${payment.id}/capture`, {}],
  cancel: ({ payment }) => [`/v1/payments/${payment.id}/cancel`, {}],
  refund: ({ payment }) => [`/v1/payments/${payment.id}/refunds`, { amount: 1, reason: 'x' }],
  pay_again: ({ id }) => [`/v1/orders/${id}/payments`, {}],
}
/**
 * Which commands a state takes; every other one is refused. `same`: it is done already, and is answered
 * without doing anything.
 */
const TAKES: Readonly<Record<string, Partial<Record<Command, 'takes' | 'same'>>>> = {
  unknown: {},
  pending: { cancel: 'takes' },
  requires_action: { cancel: 'takes' },
  authorized: { capture: 'takes', cancel: 'takes' },
  expired: {},
  failed: { pay_again: 'takes' },
  canceled: { pay_again: 'takes', cancel: 'same' },
  // Its money waits for a person: paid beside it, the buyer would have paid twice.
  mismatch: { refund: 'takes' },
  succeeded: { capture: 'same', refund: 'takes' },
  partially_refunded: { refund: 'takes' },
  refunded: {},
}
const SETTLED = new Set(['succeeded', 'partially_refunded', 'refunded'])

/** An order whose payment is in a state, with what belongs to it. */
async function orderIn(status: string): Promise<PlacedOrder> {
  const order = await world.order({ customer_id, product_key: 'minutes_30' })
  const captured = SETTLED.has(status) || status === 'mismatch' ? order.total : 0
  const refunded = status === 'refunded' ? order.total : status === 'partially_refunded' ? 100 : 0
  const { pool } = world.app.db
  await pool.query(
    `update payments.payments
        set status = $2, captured_amount = $3, refunded_amount = $4, next_check_at = null,
          mismatch_reason = case when $2 = 'mismatch' then 'of a test' end
      where id = $1`,
    [order.payment.id, status, captured, refunded],
  )
  if (SETTLED.has(status))
    await pool.query(`update orders.orders set status = 'fulfilled' where id = $1`, [order.id])
  return order
}

describe('A18: a payment', () => {
  const pairs = Object.keys(TAKES).flatMap((status) =>
    (Object.keys(COMMANDS) as Command[]).map((command) => [status, command] as const),
  )

  test('has no state that is not in the table', async () => {
    const { rows } = await world.app.db.pool.query<{ text: string }>(
      `select pg_get_constraintdef(oid) as text from pg_constraint where conname = 'payments_status_check'`,
    )
    const states = [...(rows[0]?.text ?? '').matchAll(/'(\w+)'/g)].map(([, state]) => state ?? '')
    expect(Object.keys(TAKES).toSorted()).toEqual(states.toSorted())
    expect(pairs).toHaveLength(44)
  })

  test.each(pairs)('that is %s is judged when it is asked to %s', async (status, command) => {
    const order = await orderIn(status)
    const [url, body] = COMMANDS[command](order)
    const before = await world.digest()
    const answer = await world.call('POST', url, body)
    const verdict = TAKES[status]?.[command] ?? 'refused'
    // What is taken goes to the vendor, who may say no: but we did not.
    if (verdict === 'takes') {
      expect(answer.body['code']).not.toBe('invalid_state')
      return
    }
    expect([answer.status, answer.body['code']]).toEqual(
      verdict === 'same' ? [200, undefined] : [409, 'invalid_state'],
    )
    expect(await world.digest()).toBe(before)
  })
})

describe('A18: an order', () => {
  const STATES = ['open', 'fulfilled', 'canceled', 'expired'] as const
  const TAKEN: Readonly<Record<string, 'takes' | 'same' | undefined>> = {
    'open cancel': 'takes',
    'canceled cancel': 'same',
    'open pay_again': 'takes',
  }

  test.each(STATES.flatMap((state) => [[state, 'cancel'] as const, [state, 'pay_again'] as const]))(
    'that is %s is judged when it is asked to %s',
    async (state, command) => {
      const order = await orderIn('failed')
      await world.app.db.pool.query('update orders.orders set status = $2 where id = $1', [order.id, state])
      const url = command === 'cancel' ? `/v1/orders/${order.id}/cancel` : `/v1/orders/${order.id}/payments`
      const before = await world.digest()
      const answer = await world.call('POST', url, {})
      const verdict = TAKEN[`${state} ${command}`] ?? 'refused'
      if (verdict === 'takes') {
        expect(answer.status).toBeLessThan(300)
        return
      }
      expect([answer.status, answer.body['code']]).toEqual(
        verdict === 'same' ? [200, undefined] : [409, 'invalid_state'],
      )
      expect(await world.digest()).toBe(before)
    },
  )
})

describe('A18: a hold', () => {
  const STATES = ['placed', 'captured', 'released', 'expired'] as const
  const COMMANDS_OF_HOLDS = ['capture', 'release'] as const
  /** An expired hold is captured late if its units are still there: the use happened. */
  const TAKEN: ReadonlySet<string> = new Set(['placed capture', 'placed release', 'expired capture'])

  test.each(STATES.flatMap((state) => COMMANDS_OF_HOLDS.map((command) => [state, command] as const)))(
    'that is %s is judged when it is asked to %s',
    async (state, command) => {
      const id = await world.customer()
      const units = { unit: 'minute', amount: 100 }
      await world.call('POST', `/v1/customers/${id}/grants`, { ...units, reason: 'x' })
      const hold = await world.call<{ id: string }>('POST', '/v1/holds', {
        customer_id: id,
        ...units,
        ttl_seconds: 60,
      })
      expect(hold.status).toBe(201)
      const act = (verb: string) => world.call('POST', `/v1/holds/${hold.body.id}/${verb}`, {})
      if (state === 'captured') expect((await act('capture')).status).toBe(200)
      if (state === 'released') expect((await act('release')).status).toBe(200)
      if (state === 'expired') {
        await world.call('POST', '/v1/test_clock', { advance_seconds: 120 })
        await sweepHolds(world.app.ledger)
      }
      const before = await world.digest()
      const answer = await act(command)
      if (TAKEN.has(`${state} ${command}`)) {
        expect(answer.status).toBe(200)
        return
      }
      expect(answer.status).toBe(409)
      expect(await world.digest()).toBe(before)
    },
  )

  test('and after all of it the wallets verify', async () => {
    const { body } = await world.call<{ findings: { invariant: string }[] }>('GET', '/v1/verification')
    // Payments were put into states by hand; the wallets were not.
    const of_ledger = body.findings.filter(({ invariant }) =>
      /wallet|grant|hold|chain|sequence/.test(invariant),
    )
    expect(of_ledger).toEqual([])
  })
})
