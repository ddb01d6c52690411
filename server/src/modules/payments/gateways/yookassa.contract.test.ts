import { startYookassaEmulator } from '@kopilka/emulators/yookassa'
import { describeGateway } from '../../../../test/gateway-contract.ts'
import type { VendorFact } from '../../../../test/gateway-contract.ts'
import yookassa from './yookassa.ts'

const SHOP = { shop_id: '123456', secret_key: 'test_canary-0123456789_abcdefghijkl' }

interface WireObject {
  id: string
  amount: { value: string; currency: string }
  metadata?: Record<string, string>
}

/** Kopecks are counted from the vendor's text here anew, so that a mistake of the gateway's reader shows. */
function factOf(object: Record<string, unknown>, our_id_name: string): VendorFact {
  const { id, amount, metadata } = object as unknown as WireObject
  const [roubles = '', kopecks = ''] = amount.value.split('.')
  if (kopecks.length !== 2) throw new Error(`${amount.value} has no two decimals`)
  return {
    external_id: id,
    our_id: metadata?.[our_id_name],
    amount: BigInt(roubles) * 100n + BigInt(kopecks),
    currency: amount.currency,
  }
}

describeGateway({
  gateway: yookassa,
  file_url: import.meta.resolve('./yookassa.ts'),
  currency: 'RUB',
  trust: 'hint',
  published: {
    operations: [
      'GET /me',
      'GET /payments',
      'GET /payments/{payment_id}',
      'GET /refunds',
      'GET /refunds/{refund_id}',
      'POST /payments',
      'POST /refunds',
    ],
  },
  async start(webhook_url) {
    const emulator = await startYookassaEmulator({ webhook_url, settings: SHOP, retry_scale: 0.001 })
    return {
      settings: { ...SHOP, base_url: `${emulator.base_url}/v3`, extra_ips: ['127.0.0.1', '::1'] },
      vendor_url: emulator.base_url,
      close: () => emulator.close(),
    }
  },
  objects: {
    payments: { collection: 'payments', read: (object) => factOf(object, 'payment_id') },
    refunds: { collection: 'refunds', read: (object) => factOf(object, 'refund_id') },
    withUnknownStatus: (answer) =>
      answer.replaceAll(
        /"status":"(?:pending|waiting_for_capture|succeeded|canceled)"/g,
        '"status":"reviewed"',
      ),
  },
  async realWebhook(lab) {
    const { external_id = '' } = await lab.create(lab.newPayment())
    await lab.vendor?.complete(external_id, 'succeeded')
    return lab.receiver.take((request) => request.raw_body.includes(external_id))
  },
})
