import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorld, type World } from '../../../test/world.ts'
import { recordDispute } from './disputes.ts'

interface Listed {
  id: string
  status: string
}
interface Page {
  items: Listed[]
  next_cursor: string | null
  code?: string
}

const LISTS = ['/v1/payments', '/v1/refunds', '/v1/disputes'] as const
/** Payments bought, newest last; the first has two refunds and each a dispute. */
const bought: { id: string; external_id: string; customer_id: string; order_id: string }[] = []
let world: World
beforeAll(async () => {
  world = await startWorld()
  for (let count = 0; count < 3; count++) bought.push(await buy())
  for (const amount of [1000, 2000]) {
    await world.call('POST', `/v1/payments/${bought[0]?.id}/refunds`, { amount, reason: 'in part' })
  }
  for (const { id, external_id } of bought) await contest(id, external_id)
})
afterAll(() => world?.close())

async function buy() {
  const customer_id = await world.customer()
  const { id: order_id, payment } = await world.order({ customer_id, product_key: 'minutes_30' })
  world.yookassa.control.complete(payment.external_id, 'succeeded')
  await world.eventually(
    'paid',
    async () => (await world.call('GET', `/v1/payments/${payment.id}`)).body['status'] === 'succeeded',
  )
  return { id: payment.id, external_id: payment.external_id, customer_id, order_id }
}

function contest(payment_id: string, payment_external_id: string): Promise<string> {
  const word = { payment_external_id, amount: 20_000n, currency: 'RUB', reason: 'fraudulent' }
  return world.app.db.transact((tx) =>
    recordDispute(tx, world.app.payments, 'yookassa', {
      ...word,
      external_id: `dp_${payment_id}`,
      status: 'open',
    }),
  )
}

const read = async (url: string): Promise<Page> => (await world.call<Page>('GET', url)).body
const ids = ({ items }: Page): string[] => items.map(({ id }) => id)
const idsOf = async (url: string): Promise<string[]> => ids(await read(url))

describe.each(LISTS)('the list %s', (url) => {
  it('is read one by one to the same as at once, newest first, nothing twice', async () => {
    const whole = await idsOf(url)
    expect(whole).toHaveLength(url === '/v1/refunds' ? 2 : 3)
    const walked: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const more: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const page = await read(`${url}?limit=1${more}`)
      walked.push(...ids(page))
      cursor = page.next_cursor
    }
    expect(walked).toEqual(whole)
    expect(whole).toEqual(whole.toSorted().toReversed())
  })

  it('refuses nonsense, another list’s cursor, and whoever has no key', async () => {
    const other = url === '/v1/payments' ? '/v1/disputes' : '/v1/payments'
    const { next_cursor } = await read(`${other}?limit=1`)
    for (const query of [
      'limit=0',
      'limit=201',
      'cursor=x',
      `cursor=${encodeURIComponent(next_cursor ?? '')}`,
    ])
      expect(await world.call('GET', `${url}?${query}`)).toMatchObject({
        status: 400,
        body: { code: 'invalid_request' },
      })
    expect((await world.call('GET', url, undefined, { authorization: '' })).status).toBe(401)
  })
})

it('are narrowed by what a payment, refund or dispute belongs to and how it stands', async () => {
  const [first, second] = bought
  const refunds = await idsOf('/v1/refunds')
  expect(await idsOf(`/v1/refunds?payment_id=${first?.id}&status=succeeded`)).toEqual(refunds)
  expect(await idsOf(`/v1/refunds?payment_id=${second?.id}`)).toEqual([])
  expect(await idsOf('/v1/refunds?status=failed')).toEqual([])
  expect((await read(`/v1/disputes?payment_id=${second?.id}`)).items).toMatchObject([{ status: 'open' }])
  for (const filter of [
    `customer_id=${first?.customer_id}`,
    `order_id=${first?.order_id}`,
    'status=partially_refunded',
    `gateway=yookassa&external_id=${first?.external_id}`,
  ])
    expect(await idsOf(`/v1/payments?${filter}`)).toEqual([first?.id])
  expect(await idsOf('/v1/payments?gateway=sandbox')).toEqual([])
  expect((await world.call('GET', '/v1/payments?status=paid')).status).toBe(400)
})

it('each names what is in it, and knows no other', async () => {
  const [refund] = (await read('/v1/refunds')).items
  expect(await read(`/v1/refunds/${refund?.id}`)).toEqual(refund)
  expect((await world.call('GET', '/v1/refunds/re_absent')).status).toBe(404)
  expect((await world.call('GET', '/v1/payments/pay_absent')).status).toBe(404)
})
