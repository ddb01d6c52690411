import { startYookassaEmulator } from '../yookassa.ts'
import type { Emulator, EmulatorOptions } from '../emulator.ts'
import type { Payment, Refund, YookassaSettings } from './objects.ts'

/** A vendor's answer as a test looks at it. */
export interface Answer<T = Record<string, unknown>> {
  status: number
  body: T
}

/** A merchant's client of one running emulator: what a test calls the API with. */
export interface Shop {
  emulator: Emulator
  post: <T = Record<string, unknown>>(path: string, body?: unknown, key?: string | null) => Promise<Answer<T>>
  get: <T = Record<string, unknown>>(path: string) => Promise<Answer<T>>
  /** Creates a payment of 599.00 with a redirect, changed by `changes`. */
  pay: (changes?: Record<string, unknown>) => Promise<Payment>
  refund: (payment_id: string, value: string, more?: Record<string, unknown>) => Promise<Answer<Refund>>
  payment: (id: string) => Promise<Payment>
  /** Creates and pays at once; ends as `succeeded`. */
  paid: (changes?: Record<string, unknown>) => Promise<Payment>
}

export const BASIC = basic('100500', 'test_kopilka_yookassa_secret')

export function basic(shop_id: string, secret_key: string): string {
  return `Basic ${Buffer.from(`${shop_id}:${secret_key}`).toString('base64')}`
}

export const REDIRECT_PAYMENT = {
  amount: { value: '599.00', currency: 'RUB' },
  capture: true,
  confirmation: { type: 'redirect', return_url: 'https://shop.example/return?order=1' },
  metadata: { order_id: '1001' },
}

/** Starts an emulator and a client for it. */
export async function openShop(options: EmulatorOptions<YookassaSettings> = {}): Promise<Shop> {
  const emulator = await startYookassaEmulator({ seed: 1, retry_scale: 0.00001, ...options })
  let next_key = 1
  const post: Shop['post'] = async (path, body, key = `key-${next_key++}`) => {
    const response = await fetch(`${emulator.base_url}/v3${path}`, {
      method: 'POST',
      headers: {
        authorization: BASIC,
        'content-type': 'application/json',
        ...(key === null ? {} : { 'idempotence-key': key }),
      },
      body: body === undefined ? '' : JSON.stringify(body),
    })
    return { status: response.status, body: (await response.json()) as never }
  }
  const get: Shop['get'] = async (path) => {
    const response = await fetch(`${emulator.base_url}/v3${path}`, { headers: { authorization: BASIC } })
    return { status: response.status, body: (await response.json()) as never }
  }
  const pay: Shop['pay'] = async (changes = {}) => {
    const { status, body } = await post<Payment>('/payments', { ...REDIRECT_PAYMENT, ...changes })
    if (status !== 200) throw new Error(`The payment was refused: ${JSON.stringify(body)}`)
    return body
  }
  const payment = async (id: string) => (await get<Payment>(`/payments/${id}`)).body
  return {
    emulator,
    post,
    get,
    pay,
    payment,
    refund: (payment_id, value, more = {}) =>
      post<Refund>('/refunds', { payment_id, amount: { value, currency: 'RUB' }, ...more }),
    paid: async (changes) => {
      const { id } = await pay(changes)
      emulator.control.complete(id, 'succeeded')
      return payment(id)
    },
  }
}
