import { httpRequest, runLoad, type LoadResult } from './load.ts'

/**
 * What the load process is told: a plan whose requests are made from data, since functions do not cross
 * processes.
 */
export interface LoadOrder {
  port: number
  connections: number
  pipelining: number
  duration_ms: number
  requests_max?: number
  kind: 'spend' | 'balance' | 'webhook'
  authorization: string
  /** Wallet owners, or the bodies and signatures of notifications. */
  customer_ids?: string[]
  unit?: string
  notifications?: { body: string; signature: string }[]
  /** Makes idempotency keys of this run unlike those of any other. */
  run: string
}

process.on('message', (order: LoadOrder) => {
  void runLoad({
    host: '127.0.0.1',
    port: order.port,
    connections: order.connections,
    pipelining: order.pipelining,
    duration_ms: order.duration_ms,
    ...(order.requests_max === undefined ? {} : { requests_max: order.requests_max }),
    request: requestOf(order),
  }).then((result: LoadResult) => process.send?.(result, () => process.exit(0)))
})

function requestOf(order: LoadOrder): (n: number) => string {
  const ids = order.customer_ids ?? []
  const owner = (): string => ids[Math.floor(Math.random() * ids.length)] ?? ''
  const authorization = { authorization: order.authorization }
  if (order.kind === 'balance') {
    return () => httpRequest('GET', `/v1/customers/${owner()}/wallets/${order.unit}`, authorization)
  }
  if (order.kind === 'webhook') {
    const list = order.notifications ?? []
    return (n) => {
      const { body, signature } = list[n % list.length] ?? { body: '', signature: '' }
      const headers = { 'content-type': 'application/json', 'sandbox-signature': signature }
      return httpRequest('POST', '/webhooks/payments/sandbox', headers, body)
    }
  }
  return (n) => {
    const body = `{"customer_id":"${owner()}","unit":"${order.unit}","amount":1}`
    const headers = {
      ...authorization,
      'content-type': 'application/json',
      'idempotency-key': `${order.run}-${n}`,
    }
    return httpRequest('POST', '/v1/spends', headers, body)
  }
}
