import { createHash, createHmac } from 'node:crypto'
import type { RouteOptions } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPeopleLab } from '../people-lab.ts'
import {
  emptyGateways,
  everyGateway,
  ROBOKASSA,
  sandboxWord,
  signedBySandbox,
  startPeerWorld,
  STRIPE,
  type PeerWorld,
} from '../peer-world.ts'
import type { PlacedOrder } from '../world.ts'
import { SANDBOX_SECRET, SHOP } from '../world-settings.ts'

/**
 * What befell other projects, by the numbers of docs/security/peer-failures.md: whom a notification was
 * believed.
 */

let world: PeerWorld
const gateways = everyGateway()
beforeAll(async () => {
  world = await startPeerWorld(gateways)
})
afterAll(() => world?.close())

const ordered = async (gateway: string): Promise<PlacedOrder & { customer_id: string }> => {
  const customer_id = await world.customer()
  return { ...(await world.order({ customer_id, product_key: 'minutes_30', gateway })), customer_id }
}
const seconds = (): string => String(Math.floor(Date.now() / 1000))
const json = { 'content-type': 'application/json' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }

/** "It is paid" in every vendor's words, with the name of the signature's header where there is one. */
function claims(order: PlacedOrder): Record<string, { body: string; header?: string; type?: object }> {
  const { id: payment_id, external_id } = order.payment
  const metadata = { payment_id, order_id: order.id }
  const at = new Date().toISOString()
  const session = { id: external_id, object: 'checkout.session', payment_status: 'paid', metadata }
  return {
    stripe: {
      header: 'stripe-signature',
      body: JSON.stringify({
        id: 'evt_peers',
        object: 'event',
        created: Number(seconds()),
        livemode: false,
        type: 'checkout.session.completed',
        data: { object: { ...session, amount_total: order.total, currency: 'rub' } },
      }),
    },
    paddle: {
      header: 'paddle-signature',
      body: JSON.stringify({
        event_id: 'evt_01peers',
        event_type: 'transaction.completed',
        occurred_at: at,
        data: { id: 'txn_01peers', status: 'completed', custom_data: metadata },
      }),
    },
    paypal: {
      header: 'paypal-transmission-sig',
      body: JSON.stringify({
        id: 'WH-PEERS',
        event_type: 'PAYMENT.CAPTURE.COMPLETED',
        create_time: at,
        resource: { id: 'PEERS1', status: 'COMPLETED', custom_id: payment_id, invoice_id: payment_id },
      }),
    },
    'crypto-pay': {
      header: 'crypto-pay-api-signature',
      body: JSON.stringify({
        update_id: 1,
        update_type: 'invoice_paid',
        request_date: at,
        payload: { invoice_id: 1, status: 'paid', payload: payment_id, amount: '200', asset: 'USDT' },
      }),
    },
    sandbox: {
      header: 'sandbox-signature',
      body: JSON.stringify({
        id: 'sbxe_peers_unsigned',
        type: 'payment.succeeded',
        created_at: at,
        payment: {
          id: external_id,
          payment_id,
          payment_number: 1,
          order_id: order.id,
          status: 'succeeded',
          amount: String(order.total),
          currency: 'RUB',
        },
      }),
    },
    'telegram-stars': {
      header: 'x-telegram-bot-api-secret-token',
      body: JSON.stringify({
        update_id: 1,
        message: {
          message_id: 1,
          date: Number(seconds()),
          chat: { id: 777, type: 'private' },
          successful_payment: { currency: 'XTR', total_amount: 130, invoice_payload: payment_id },
        },
      }),
    },
    robokassa: { body: `OutSum=200.00&InvId=1&Shp_payment=${payment_id}&Shp_order=${order.id}`, type: form },
    rustore: { body: JSON.stringify({ payload: Buffer.from(payment_id).toString('base64') }) },
    yookassa: {
      body: JSON.stringify({
        type: 'notification',
        event: 'payment.succeeded',
        object: { id: external_id, status: 'succeeded', paid: true, metadata },
      }),
    },
  }
}

describe('B1: an empty secret, and a gateway that pays for another', () => {
  it('B1: no gateway starts with an empty, missing or short secret', async () => {
    const board = await emptyGateways()
    const all = { ...gateways, sandbox: { secret: SANDBOX_SECRET }, yookassa: { ...SHOP } }
    let secrets = 0
    for (const [id, settings] of Object.entries(all)) {
      expect(() => board.configure(id, settings), id).not.toThrow()
      for (const field of Object.keys(settings).filter((name) => /secret|password|token|key$/.test(name))) {
        secrets += 1
        for (const value of ['', ' '.repeat(40), 'short', undefined]) {
          expect(() => board.configure(id, { ...settings, [field]: value }), `${id}.${field}`).toThrow()
        }
      }
    }
    expect(secrets).toBeGreaterThanOrEqual(13)
  })

  it('B1: what is signed with an empty key is refused', async () => {
    const order = await ordered('sandbox')
    const { stripe, paddle, sandbox } = claims(order)
    const before = await world.digest()
    const time = seconds()
    const empty = (text: string): string => createHmac('sha256', '').update(text).digest('hex')
    const tries: [string, string, string, string][] = [
      ['stripe', stripe?.body ?? '', 'stripe-signature', `t=${time},v1=${empty(`${time}.${stripe?.body}`)}`],
      ['paddle', paddle?.body ?? '', 'paddle-signature', `ts=${time};h1=${empty(`${time}:${paddle?.body}`)}`],
    ]
    for (const [gateway, body, header, value] of tries) {
      expect((await world.tell(gateway, body, { [header]: value })).status).toBe(401)
    }
    const { body, headers } = signedBySandbox(sandbox?.body ?? '', '')
    expect((await world.tell('sandbox', body, headers)).status).toBe(401)
    expect(await world.digest()).toBe(before)
  })

  it('B1: a word a vendor really signed does not pay an order of another gateway', async () => {
    const order = await ordered('yookassa')
    const word = await sandboxWord(world, order)
    expect((await world.tell('sandbox', word.body, word.headers)).status).toBe(200)
    const { stripe } = claims(order)
    const time = seconds()
    const mac = createHmac('sha256', STRIPE.webhook_secret).update(`${time}.${stripe?.body}`).digest('hex')
    const answer = await world.tell('stripe', stripe?.body ?? '', {
      'stripe-signature': `t=${time},v1=${mac}`,
    })
    expect(answer.status).toBe(200)
    await world.handled()
    expect((await world.payment(order.payment.id)).status).toBe('pending')
    expect(await world.balance(order.customer_id)).toBe(0)
    expect(await world.grants(order.id)).toBe(0)
  })
})

describe('B2: notifications nobody signed', () => {
  it('B2: change nothing at any gateway, without a signature and with a made-up one', async () => {
    const order = await ordered('yookassa')
    const before = await world.digest()
    const all = claims(order)
    for (const { gateway } of world.app.payments.gateways.list()) {
      const { body, header, type = json } = all[gateway.id] ?? { body: all['stripe']?.body ?? '' }
      const headers: Record<string, string>[] = [{}]
      if (header !== undefined) {
        const time = seconds()
        for (const value of ['x', 'a'.repeat(64), `t=${time},v1=${'0'.repeat(64)}`, `ts=${time};h1=00`]) {
          headers.push({ [header]: value })
        }
      }
      for (const one of headers) {
        const { status } = await world.tell(gateway.id, body, { ...type, ...one })
        // YooKassa signs nothing: its word is a hint, and the payment is read from YooKassa itself.
        expect([gateway.id, status]).toEqual([
          gateway.id,
          gateway.id === 'yookassa' ? 200 : expect.any(Number),
        ])
        if (gateway.id !== 'yookassa') expect(status).toBeGreaterThanOrEqual(400)
      }
    }
    await world.handled()
    expect(await world.digest()).toBe(before)
  })
})

describe('B3: authentic is not yet right', () => {
  it.each([
    ['one ruble', { amount: '100' }, 'wrong_amount'],
    ['other money', { currency: 'USD' }, 'wrong_currency'],
    ['another order', { order_id: 'ord_of_somebody' }, 'wrong_order'],
    ['another payment of the vendor', { id: 'sbx_another' }, 'wrong_external_id'],
  ])('B3: a signed payment of %s pays nothing', async (_what, change, reason) => {
    const order = await ordered('sandbox')
    const { body, headers } = await sandboxWord(world, order, change)
    expect((await world.tell('sandbox', body, headers)).status).toBe(200)
    await world.becomes(order.payment.id, 'mismatch')
    expect(await world.payment(order.payment.id)).toMatchObject({ mismatch_reason: reason })
    expect(await world.grants(order.id)).toBe(0)
    expect((await world.call('GET', `/v1/orders/${order.id}`)).body['status']).toBe('open')
  })
})

describe('B4: a callback path nobody guards', () => {
  it('B4: every path that strangers may call asks for a proof, and believes nothing without', async () => {
    const proved: string[] = []
    const open: string[] = []
    const collect = ({ method, url, config }: RouteOptions): void => {
      for (const one of [method].flat()) {
        if (one !== 'POST' && one !== 'PUT' && one !== 'PATCH' && one !== 'DELETE') continue
        if (config?.who?.proof !== undefined) proved.push(url)
        else if (config?.who === undefined || config.who.anonymous) open.push(url)
      }
    }
    const lab = await startPeopleLab(world, (http) => void http.addHook('onRoute', collect))
    await lab.close()
    // Signing up and in is for strangers; no money moves there.
    expect(open.filter((url) => !/^\/(v1\/|api\/)?(auth|setup|invitations)(\/|$)/.test(url))).toEqual([])
    expect(proved.filter((url) => /webhook|callback/.test(url)).length).toBeGreaterThanOrEqual(3)
    const order = await ordered('yookassa')
    const before = await world.digest()
    for (const [gateway, { body, type = json }] of Object.entries(claims(order))) {
      for (const url of proved.filter((one) => /webhook|callback/.test(one))) {
        const path = url.replace(':gateway', gateway)
        const { status } = await world.call('POST', path, body, { authorization: '', ...type })
        if (gateway !== 'yookassa' || path.includes('robokassa')) expect(status).toBeGreaterThanOrEqual(400)
      }
    }
    await world.handled()
    expect(await world.digest()).toBe(before)
    expect((await world.tell('no-such-gateway', '{}')).status).toBe(404)
  })
})

describe('B5: Robokassa’s second notification, believed unread', () => {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

  it('B5: a token without a signature, or with one that is nobody’s, is refused', async () => {
    const order = await ordered('robokassa')
    const number = new URL(order.payment.checkout_url).searchParams.get('InvId') ?? ''
    const before = await world.digest()
    const data = { shop: ROBOKASSA.merchant_login, opKey: 'op-1', invId: number, state: 'OK' }
    const payload = encode({ header: { type: 'PaymentStateNotification', timestamp: seconds() }, data })
    const hs = (head: string, key: string): string =>
      createHmac('sha256', key).update(`${head}.${payload}`).digest('base64url')
    const none = encode({ alg: 'none', typ: 'JWT' })
    const hs256 = encode({ alg: 'HS256', typ: 'JWT' })
    for (const token of [
      `${none}.${payload}.`,
      `${hs256}.${payload}.${hs(hs256, '')}`,
      `${hs256}.${payload}.${hs(hs256, ROBOKASSA.merchant_login)}`,
      // The certificate is public: as the key of another algorithm it proves nothing.
      `${hs256}.${payload}.${hs(hs256, String(gateways['robokassa']?.['result2_certificate']))}`,
      `${encode({ alg: 'RS256', typ: 'JWT' })}.${payload}.${'A'.repeat(342)}`,
    ]) {
      expect((await world.tell('robokassa', token, json)).status).toBe(400)
    }
    expect(await world.digest()).toBe(before)
  })

  it('B5: a bad signature fails no payment, and the right one is told to nobody', async () => {
    const order = await ordered('robokassa')
    const asked = new URL(order.payment.checkout_url).searchParams
    const number = asked.get('InvId') ?? ''
    const shp = [...asked]
      .filter(([name]) => name.startsWith('Shp_'))
      .map(([name, value]) => `${name}=${value}`)
    const base = ['200.00', number, ROBOKASSA.password2, ...shp.toSorted()].join(':')
    const right = createHash('sha256').update(base).digest('hex')
    const body = (signature: string): string =>
      `OutSum=200.00&InvId=${number}&${shp.join('&')}&SignatureValue=${signature}`
    const wrong = await world.tell('robokassa', body(`0${right.slice(1)}`.replace(/^0./, '00')), form)
    expect(wrong.status).toBe(400)
    expect((await world.payment(order.payment.id)).status).toBe('pending')
    const told = [wrong.text, ...world.logged].join('\n').toLowerCase()
    expect(world.logged.length).toBeGreaterThan(0)
    expect(told).not.toContain(right)
    expect(told).not.toContain(ROBOKASSA.password2)
    // And the right one does pay: the test knows what it did not find.
    expect((await world.tell('robokassa', body(right), form)).text).toBe(`OK${number}`)
    await world.becomes(order.payment.id, 'succeeded')
  })
})

describe('B6: YooKassa’s address and status, believed from the request', () => {
  it('B6: headers do not make a stranger YooKassa', async () => {
    const { gateways: board } = world.app.payments
    const base_url = `${world.yookassa.base_url}/v3`
    board.configure('yookassa', { ...SHOP, base_url })
    try {
      const order = await ordered('yookassa')
      const before = await world.digest()
      const { yookassa } = claims(order)
      for (const name of [
        'x-forwarded-for',
        'cf-connecting-ip',
        'x-real-ip',
        'true-client-ip',
        'forwarded',
      ]) {
        const value = name === 'forwarded' ? 'for=185.71.76.5' : '185.71.76.5'
        const answer = await world.tell('yookassa', yookassa?.body ?? '', { ...json, [name]: value })
        expect([name, answer.status]).toEqual([name, 403])
      }
      expect(await world.digest()).toBe(before)
    } finally {
      board.configure('yookassa', { ...SHOP, base_url, extra_ips: ['127.0.0.1'] })
    }
  })

  it('B6: the status is YooKassa’s own, and a payment that is told again grants no more', async () => {
    const order = await ordered('yookassa')
    const { yookassa } = claims(order)
    const tell = () => world.tell('yookassa', yookassa?.body ?? '', json)
    expect((await tell()).status).toBe(200)
    await world.handled()
    expect((await world.payment(order.payment.id)).status).toBe('pending')
    world.yookassa.control.complete(order.payment.external_id, 'succeeded')
    await world.becomes(order.payment.id, 'succeeded')
    const before = await world.digest()
    for (let time = 0; time < 10; time++) expect((await tell()).status).toBe(200)
    // Other events of the same payment lead to it as well, and each is read from the vendor anew.
    for (const event of ['payment.canceled', 'payment.waiting_for_capture']) {
      const body = (yookassa?.body ?? '').replace('payment.succeeded', event)
      expect((await world.tell('yookassa', body, json)).status).toBe(200)
    }
    await world.handled()
    await world.look(order.payment.id)
    expect(await world.payment(order.payment.id)).toMatchObject({
      status: 'succeeded',
      captured_amount: order.total,
      refunded_amount: 0,
      mismatch_reason: null,
    })
    expect(await world.digest()).toBe(before)
    expect(await world.grants(order.id)).toBe(1)
    expect(await world.balance(order.customer_id)).toBe(1800)
    expect(await world.booksAreClean()).toEqual([])
  })
})
