import { createHash, createHmac } from 'node:crypto'
import { startCryptoPayEmulator } from '@kopilka/emulators/crypto-pay'
import { describeGateway } from '../../../../test/gateway-contract.ts'
import cryptoPay from './crypto-pay.ts'

const TOKEN = '12345:AAcanaryCryptoPayToken0123456789'
const HEADER = 'crypto-pay-api-signature'

function sign(token: string, body: Buffer | string): string {
  return createHmac('sha256', createHash('sha256').update(token).digest()).update(body).digest('hex')
}

describeGateway({
  gateway: cryptoPay,
  file_url: import.meta.resolve('./crypto-pay.ts'),
  refunds_elsewhere: 'a refund there is a transfer: crypto-pay.test.ts',
  currency: 'RUB',
  trust: 'signed',
  async start(webhook_url) {
    const emulator = await startCryptoPayEmulator({
      webhook_url,
      settings: { token: TOKEN },
      retry_scale: 0.001,
    })
    return {
      settings: { token: TOKEN, network: 'testnet', base_url: emulator.base_url },
      vendor_url: emulator.base_url,
      close: () => emulator.close(),
    }
  },
  objects: {
    payments: {
      collection: 'invoices',
      // Kopecks are counted anew, so that a mistake of the gateway's reader shows.
      read(object) {
        const { invoice_id, payload, amount, fiat } = object as Record<string, string>
        const [roubles = '', kopecks = ''] = (amount ?? '').split('.')
        return {
          external_id: String(invoice_id),
          our_id: payload?.split(' ')[0],
          amount: BigInt(roubles) * 100n + BigInt(kopecks.padEnd(2, '0')),
          currency: fiat ?? '',
        }
      },
    },
    withUnknownStatus: (answer) =>
      answer.replaceAll(/"status":"(?:active|paid|expired)"/g, '"status":"reviewed"'),
  },
  async realWebhook(lab) {
    const { external_id = '' } = await lab.create(lab.newPayment())
    await lab.vendor?.complete(external_id, 'succeeded')
    return lab.receiver.take((request) => request.raw_body.includes(`"invoice_id":${external_id}`))
  },
  proof: {
    read: (request) => {
      const value = request.headers[HEADER]
      return typeof value === 'string' ? value : undefined
    },
    write: (request, value) => ({ ...request, headers: { ...request.headers, [HEADER]: value } }),
  },
  resign: (request, settings, at) => {
    const text = request.raw_body
      .toString('utf8')
      .replace(/"request_date":"[^"]*"/, `"request_date":"${at.toISOString()}"`)
    const signature = sign(String(settings['token']), text)
    return { ...request, raw_body: Buffer.from(text), headers: { ...request.headers, [HEADER]: signature } }
  },
})
