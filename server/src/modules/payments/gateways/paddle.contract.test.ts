import { createHmac } from 'node:crypto'
import { startPaddleEmulator } from '@kopilka/emulators/paddle'
import type { Adjustment, Transaction } from '@kopilka/emulators/paddle'
import { describeGateway } from '../../../../test/gateway-contract.ts'
import paddle from './paddle.ts'

const KEYS = { api_key: 'pdl_sdbx_apikey_canary0123456789', webhook_secret: 'pdl_ntfset_canary0123456789' }
const HEADER = 'paddle-signature'

describeGateway({
  gateway: paddle,
  file_url: import.meta.resolve('./paddle.ts'),
  currency: 'USD',
  trust: 'signed',
  published: {
    operations: [
      'GET /adjustments',
      'GET /event-types',
      'GET /transactions',
      'GET /transactions/{transaction_id}',
      'POST /adjustments',
      'POST /transactions',
    ],
  },
  async start(webhook_url) {
    const emulator = await startPaddleEmulator({ webhook_url, settings: KEYS, retry_scale: 0.001 })
    return {
      settings: { ...KEYS, base_url: emulator.base_url },
      vendor_url: emulator.base_url,
      close: () => emulator.close(),
    }
  },
  objects: {
    payments: {
      collection: 'transactions',
      read(object) {
        const { id, custom_data, details, currency_code } = object as unknown as Transaction
        const our_id = String(custom_data?.['payment_id'])
        return {
          external_id: id,
          our_id,
          amount: BigInt(details.totals.grand_total),
          currency: currency_code,
        }
      },
    },
    refunds: {
      collection: 'adjustments',
      read(object) {
        const { id, reason, totals } = object as unknown as Adjustment
        const our_id = reason.slice(1, reason.indexOf(']'))
        return { external_id: id, our_id, amount: BigInt(totals.total), currency: totals.currency_code }
      },
    },
    withUnknownStatus: (answer) =>
      answer.replaceAll(/"status":"(?:draft|ready|paid|completed|canceled)"/g, '"status":"reviewed"'),
  },
  async realWebhook(lab) {
    const { external_id = '' } = await lab.create(lab.newPayment())
    await lab.vendor?.complete(external_id, 'succeeded')
    return lab.receiver.take(
      ({ raw_body }) => raw_body.includes(external_id) && raw_body.includes('transaction.completed'),
    )
  },
  proof: {
    read: (request) => {
      const value = request.headers[HEADER]
      return typeof value === 'string' ? value : undefined
    },
    write: (request, value) => ({ ...request, headers: { ...request.headers, [HEADER]: value } }),
  },
  resign: (request, settings, at) => {
    const time = Math.floor(at.getTime() / 1000)
    const mac = createHmac('sha256', String(settings['webhook_secret']))
      .update(`${time}:`)
      .update(request.raw_body)
    return { ...request, headers: { ...request.headers, [HEADER]: `ts=${time};h1=${mac.digest('hex')}` } }
  },
})
