import type { Order, Refund } from '@kopilka/emulators/paypal'
import { startPaypalEmulator } from '@kopilka/emulators/paypal'
import { parseDecimal } from '@kopilka/extension'
import { describeGateway } from '../../../../test/gateway-contract.ts'
import paypal from './paypal.ts'

const KEYS = {
  client_id: 'AcanaryClient0123456789abcdef',
  client_secret: 'EcanarySecret0123456789abcdef',
  webhook_id: '8PT597110X687430L',
}
const HEADER = 'paypal-transmission-sig'

function factOf(id: string, our_id: string | undefined, money: { value: string; currency_code: string }) {
  return {
    external_id: id,
    our_id,
    amount: parseDecimal(money.value, 2) ?? -1n,
    currency: money.currency_code,
  }
}

describeGateway({
  gateway: paypal,
  file_url: import.meta.resolve('./paypal.ts'),
  currency: 'USD',
  trust: 'signed',
  published: {
    operations: [
      'GET /v2/checkout/orders/{id}',
      'GET /v2/payments/captures/{capture_id}',
      'GET /v2/payments/refunds/{refund_id}',
      'POST /v2/checkout/orders',
      'POST /v2/checkout/orders/{id}/capture',
      'POST /v2/payments/captures/{capture_id}/refund',
    ],
    unpublished: {
      'GET /v1/notifications/certs/CERT-EMULATOR-1': 'A file, whose address a notification brings.',
      'POST /v1/oauth2/token': 'The token call is in none of the files.',
    },
  },
  async start(webhook_url) {
    const emulator = await startPaypalEmulator({ webhook_url, settings: KEYS, retry_scale: 0.001 })
    return {
      settings: { ...KEYS, environment: 'sandbox', base_url: emulator.base_url },
      vendor_url: emulator.base_url,
      close: () => emulator.close(),
    }
  },
  objects: {
    unknown_id: '5O190127TN364715T',
    payments: {
      collection: 'orders',
      read(object) {
        const { id, purchase_units } = object as unknown as Order
        return factOf(id, purchase_units[0].custom_id, purchase_units[0].amount)
      },
    },
    refunds: {
      collection: 'refunds',
      read(object) {
        const { id, custom_id, amount } = object as unknown as Refund
        return factOf(id, custom_id, amount)
      },
    },
    // There is no list of orders: one that nobody paid is found by asking for it again under the same key.
    are_found_by_our_id: false,
    withUnknownStatus: (answer) =>
      answer.replaceAll(
        /"status":"(?:CREATED|PAYER_ACTION_REQUIRED|APPROVED|COMPLETED)"/g,
        '"status":"SEEN"',
      ),
  },
  async realWebhook(lab) {
    const { external_id = '' } = await lab.create(lab.newPayment())
    await lab.vendor?.complete(external_id, 'succeeded')
    return lab.receiver.take(({ raw_body }) => raw_body.includes(external_id))
  },
  undated: 'the vendor resends what is thirty days old; see paypal-webhook.test.ts for its window',
  proof: {
    read: (request) => {
      const value = request.headers[HEADER]
      return typeof value === 'string' ? value : undefined
    },
    write: (request, value) => ({ ...request, headers: { ...request.headers, [HEADER]: value } }),
  },
})
