import type { LightMyRequestResponse } from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Caller, type PeopleLab, startPeopleLab } from './people-lab.ts'
import { startWorld, type World } from './world.ts'

let world: World
let lab: PeopleLab
let asker: Caller
let decider: Caller
let owner: Caller

beforeAll(async () => {
  world = await startWorld()
  lab = await startPeopleLab(world)
  ;[asker, decider, owner] = [
    (await lab.user('finance')) as Caller,
    (await lab.user('finance')) as Caller,
    (await lab.user('owner')) as Caller,
  ]
  await limit('adjustment', 'minute', 100)
  await limit('refund', 'RUB', 5_000)
})
afterAll(async () => {
  await lab?.close()
  await world?.close()
})

const outcome = (answer: LightMyRequestResponse) => [answer.statusCode, answer.json<{ code?: string }>().code]
const limit = (kind: string, measure: string, amount: number | null) =>
  lab.call(owner, 'PUT', `/v1/approval_limits/${kind}/${measure}`, { amount })
const adjust = (as: Caller, customer: string, amount: number) =>
  lab.call(as, 'POST', `/v1/customers/${customer}/adjustments`, { unit: 'minute', amount, reason: 'x' })
const ask = async (as: Caller, customer_id: string, amount: number): Promise<string> => {
  const body = { customer_id, unit: 'minute', amount, reason: 'promised on the phone' }
  const answer = await lab.call(as, 'POST', '/v1/approvals/adjustments', body)
  expect(answer.statusCode).toBe(201)
  return answer.json<{ id: string }>().id
}
const approve = (as: Caller, id: string) =>
  lab.call(as, 'POST', `/v1/approvals/${id}/approve`, { note: 'checked' })
const balance = async (customer: string): Promise<number> =>
  (await world.call<{ balance: number }>('GET', `/v1/customers/${customer}/wallets/minute`)).body.balance

describe('a correction above its limit', () => {
  test('is refused to one person, a key, and under the name of a grant; below it is done', async () => {
    const customer = await world.customer()
    const key: Caller = { scopes: ['*'] }
    expect(outcome(await adjust(asker, customer, 101))).toEqual([403, 'approval_required'])
    expect(outcome(await adjust(key, customer, 101))).toEqual([403, 'approval_required'])
    const grant = { unit: 'minute', amount: 101, reason: 'x' }
    const given = await lab.call(owner, 'POST', `/v1/customers/${customer}/grants`, grant)
    expect(outcome(given)).toEqual([403, 'approval_required'])
    expect((await adjust(asker, customer, 100)).statusCode).toBe(201)
    expect(outcome(await adjust(asker, customer, -101))).toEqual([403, 'approval_required'])
    expect(await balance(customer)).toBe(100)
  })

  test('is done when a second person agrees, once of twenty at once', async () => {
    const customer = await world.customer()
    const id = await ask(asker, customer, 500)
    expect(await balance(customer)).toBe(0)
    const answers = await Promise.all(Array.from({ length: 20 }, () => approve(decider, id)))
    expect(new Set(answers.map((answer) => answer.statusCode))).toEqual(new Set([200]))
    expect(await balance(customer)).toBe(500)
    expect(outcome(await lab.call(decider, 'POST', `/v1/approvals/${id}/reject`, {}))).toEqual([
      409,
      'invalid_state',
    ])
  })

  test('is not agreed to by the asker, the maker of the asking key, nor whoever may not do it', async () => {
    const customer = await world.customer()
    const own = await ask(asker, customer, 500)
    expect(outcome(await approve(asker, own))).toEqual([403, 'missing_scope'])
    expect(outcome(await approve((await lab.user('support')) as Caller, own))).toEqual([403, 'missing_scope'])
    expect(outcome(await approve({ scopes: ['*'] }, own))).toEqual([403, 'missing_scope'])
    const { rows } = await world.app.db.pool.query(
      `insert into identity.api_keys (id, name, hint, secret_digest, mode, scopes, created_by, created_at)
       values ('key_of_a_test', 'k', 'h', sha256('k'), 'sandbox', '{*}', $1, now()) returning id`,
      [owner],
    )
    expect(rows).toHaveLength(1)
    const by_key = await ask({ scopes: ['adjustments:write'] }, customer, 500)
    expect(outcome(await approve(owner, by_key))).toEqual([403, 'missing_scope'])
    expect((await approve(decider, by_key)).statusCode).toBe(200)
    expect(await balance(customer)).toBe(500)
  })

  test('that was rejected, or is older than a week, is never done', async () => {
    const customer = await world.customer()
    const rejected = await ask(asker, customer, 500)
    expect((await lab.call(decider, 'POST', `/v1/approvals/${rejected}/reject`, {})).statusCode).toBe(200)
    expect(outcome(await approve(decider, rejected))).toEqual([409, 'invalid_state'])
    const old = await ask(asker, customer, 500)
    await world.app.db.pool.query(
      "update admin.approvals set expires_at = now() - interval '1 s' where id = $1",
      [old],
    )
    expect(outcome(await approve(decider, old))).toEqual([409, 'invalid_state'])
    expect(await balance(customer)).toBe(0)
  })
})

describe('A49: what one person does to one customer in small parts', () => {
  const statuses = (answers: readonly LightMyRequestResponse[], status: number) =>
    answers.filter((answer) => answer.statusCode === status).length

  test('is judged by its sum over a day, given and taken alike', async () => {
    const customer = await world.customer()
    const [one, other] = [(await lab.user('finance')) as Caller, (await lab.user('finance')) as Caller]
    expect((await adjust(one, customer, 60)).statusCode).toBe(201)
    expect((await adjust(one, customer, -20)).statusCode).toBe(201)
    expect(outcome(await adjust(one, customer, 21))).toEqual([403, 'approval_required'])
    const given = { unit: 'minute', amount: 21, reason: 'x' }
    const support = (await lab.user('support')) as Caller
    expect(outcome(await lab.call(owner, 'POST', `/v1/customers/${customer}/grants`, given))[0]).toBe(201)
    expect((await adjust(one, customer, 20)).statusCode).toBe(201)
    expect(outcome(await adjust(one, customer, 1))).toEqual([403, 'approval_required'])
    for (const who of [other, support]) expect((await adjust(who, customer, 100)).statusCode).toBe(201)
    expect((await adjust(one, await world.customer(), 100)).statusCode).toBe(201)
    expect(await balance(customer)).toBe(60 - 20 + 21 + 20 + 200)
    // A day later it is forgotten.
    await world.app.db.pool.query(
      "update admin.lone_acts set created_at = created_at - interval '1 day' where customer_id = $1",
      [customer],
    )
    expect((await adjust(one, customer, 100)).statusCode).toBe(201)
  })

  test('fifty at once: as many as fit, and no unit more', async () => {
    const customer = await world.customer()
    const one = (await lab.user('finance')) as Caller
    const answers = await Promise.all(Array.from({ length: 50 }, () => adjust(one, customer, 7)))
    expect([statuses(answers, 201), statuses(answers, 403)]).toEqual([14, 36])
    expect(await balance(customer)).toBe(14 * 7)
  })

  test('counts the keys he made with him, and names a customer knows count as one', async () => {
    const external_id = `parts-${Date.now()}`
    const customer = await world.customer(external_id)
    const one = await lab.user('admin')
    await world.app.db.pool.query(
      `insert into identity.api_keys (id, name, hint, secret_digest, mode, scopes, created_by, created_at)
       values ('key_of_a_test', 'k', 'h', sha256('k'), 'sandbox', '{*}', $1, now())
       on conflict (id) do update set created_by = excluded.created_by`,
      [one],
    )
    const key: Caller = { scopes: ['adjustments:write'] }
    expect((await adjust(key, customer, 70)).statusCode).toBe(201)
    expect(outcome(await adjust(one as Caller, customer, 31))).toEqual([403, 'approval_required'])
    expect(outcome(await adjust(key, `external_id:${external_id}`, 31))).toEqual([403, 'approval_required'])
    expect(await balance(customer)).toBe(70)
  })

  test('a merge of customers is none of the ways around: what it gives counts', async () => {
    const [rich, small, own] = [await world.customer(), await world.customer(), await world.customer()]
    for (const [customer, amount] of [
      [rich, 101],
      [small, 60],
    ] as const) {
      await world.call('POST', `/v1/customers/${customer}/grants`, { unit: 'minute', amount, reason: 'x' })
    }
    const support = (await lab.user('support')) as Caller
    const merge = (as: Caller, from: string) =>
      lab.call(as, 'POST', `/v1/customers/${from}/merge`, { into_customer_id: own })
    expect(outcome(await merge(support, rich))).toEqual([403, 'approval_required'])
    expect([await balance(rich), await balance(own)]).toEqual([101, 0])
    expect((await merge(support, small)).statusCode).toBe(200)
    expect(outcome(await adjust(support, own, 41))).toEqual([403, 'approval_required'])
    expect(await balance(own)).toBe(60)
    // The owner's own server merges whom it knows to be one person.
    expect((await merge({ scopes: ['customers:write'] }, rich)).statusCode).toBe(200)
    expect(await balance(own)).toBe(161)
  })

  test('nor are reversals of spends: what is given back by hand counts', async () => {
    const customer = await world.customer()
    await world.call('POST', `/v1/customers/${customer}/grants`, { unit: 'minute', amount: 300, reason: 'x' })
    const spend = async (amount: number): Promise<string> => {
      const wish = { customer_id: customer, unit: 'minute', amount }
      return (await world.call<{ id: string }>('POST', '/v1/spends', wish)).body.id
    }
    const [large, small] = [await spend(101), await spend(60)]
    const one = (await lab.user('finance')) as Caller
    const reverse = (as: Caller, id: string, body: object) =>
      lab.call(as, 'POST', `/v1/spends/${id}/reversal`, body)
    expect(outcome(await reverse(one, large, {}))).toEqual([403, 'approval_required'])
    expect(await balance(customer)).toBe(139)
    expect((await reverse(one, small, {})).statusCode).toBe(201)
    expect(outcome(await reverse(one, large, { amount: 41 }))).toEqual([403, 'approval_required'])
    expect(outcome(await adjust(one, customer, 41))).toEqual([403, 'approval_required'])
    expect(await balance(customer)).toBe(199)
    // The owner's own server gives back what its work did not use.
    expect((await reverse({ scopes: ['spends:write'] }, large, {})).statusCode).toBe(201)
    expect(await balance(customer)).toBe(300)
  })

  test('what a second person agreed to does not count, and what was refused neither', async () => {
    const customer = await world.customer()
    const one = (await lab.user('finance')) as Caller
    expect((await approve(decider, await ask(one, customer, 500))).statusCode).toBe(200)
    expect(outcome(await adjust(one, customer, -90_000))).toEqual([403, 'approval_required'])
    expect((await adjust(one, customer, 100)).statusCode).toBe(201)
    // Below the limit, and more than there is: refused by the books, and so not counted.
    const poor = await world.customer()
    expect(outcome(await adjust(one, poor, -80))).toEqual([402, 'insufficient_funds'])
    expect((await adjust(one, poor, 100)).statusCode).toBe(201)
  })
})

describe('a refund above its limit', () => {
  async function paid(of?: string): Promise<{ payment_id: string; amount: number }> {
    const customer_id = of ?? (await world.customer())
    const products = await world.call<{ items: { key: string }[] }>('GET', '/v1/products')
    const product_key = products.body.items.at(-1)?.key ?? ''
    const order = await world.order({ customer_id, product_key })
    world.yookassa.control.complete(order.payment.external_id, { outcome: 'succeeded' })
    await world.eventually('it is paid', async () => {
      const { body } = await world.call<{ status: string }>('GET', `/v1/payments/${order.payment.id}`)
      return body.status === 'succeeded'
    })
    return { payment_id: order.payment.id, amount: order.total }
  }
  const refund = (as: Caller, payment_id: string, amount?: number) =>
    lab.call(as, 'POST', `/v1/payments/${payment_id}/refunds`, amount === undefined ? {} : { amount })

  test('A49: is refused over several payments of one customer, also twenty at once', async () => {
    const customer = await world.customer()
    const [first, second] = [await paid(customer), await paid(customer)]
    const one = (await lab.user('finance')) as Caller
    expect((await refund(one, first.payment_id, 3_000)).statusCode).toBe(201)
    expect(outcome(await refund(one, second.payment_id, 2_001))).toEqual([403, 'approval_required'])
    expect((await refund(one, second.payment_id, 1_000)).statusCode).toBe(201)
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        refund(one, index % 2 === 0 ? first.payment_id : second.payment_id, 200),
      ),
    )
    const codes = answers.map((answer) => answer.statusCode)
    expect([
      codes.filter((code) => code === 201).length,
      codes.filter((code) => code === 403).length,
    ]).toEqual([5, 15])
    const other = (await lab.user('support')) as Caller
    expect((await refund(other, second.payment_id, 1_000)).statusCode).toBe(201)
  })

  test('is refused to one person, also in parts, and done when a second agrees', async () => {
    const { payment_id, amount } = await paid()
    expect(amount).toBeGreaterThan(5_000)
    expect(outcome(await refund(asker, payment_id))).toEqual([403, 'approval_required'])
    expect((await refund(asker, payment_id, 4_000)).statusCode).toBe(201)
    expect(outcome(await refund(asker, payment_id, 4_000))).toEqual([403, 'approval_required'])
    const body = { payment_id, amount: amount - 4_000, reason: 'it never worked' }
    const asked = await lab.call(asker, 'POST', '/v1/approvals/refunds', body)
    const { id, resource_id } = asked.json<{ id: string; resource_id: string }>()
    expect(outcome(await approve(asker, id))).toEqual([403, 'missing_scope'])
    const done = await approve(decider, id)
    expect([done.statusCode, done.json<{ done_at: string | null }>().done_at]).toEqual([
      200,
      expect.any(String),
    ])
    expect((await approve(decider, id)).statusCode).toBe(200)
    const made = await world.call<{ amount: number; status: string }>('GET', `/v1/refunds/${resource_id}`)
    expect(made.body).toMatchObject({ amount: amount - 4_000, status: 'succeeded' })
  })
})

test('limits are set by owners only, and everything is in the audit log', async () => {
  for (const as of [asker, (await lab.user('admin')) as Caller]) {
    const answer = await lab.call(as, 'PUT', '/v1/approval_limits/refund/RUB', { amount: 999_999 })
    expect(outcome(answer)).toEqual([403, 'missing_scope'])
  }
  const { rows } = await world.app.db.pool.query<{ action: string }>(
    "select distinct action from identity.audit_log where action like 'appro%' order by action",
  )
  expect(rows.map((row) => row.action)).toEqual([
    'approval.approved',
    'approval.carried_out',
    'approval.closed',
    'approval.rejected',
    'approval.requested',
    'approval_limit.changed',
  ])
})

test('the books and the audit log verify, and nothing of all this was a mistake of ours', async () => {
  expect(lab.failures).toEqual([])
  const { body } = await world.call<{ findings: unknown[] }>('GET', '/v1/verification')
  expect(body.findings).toEqual([])
})
