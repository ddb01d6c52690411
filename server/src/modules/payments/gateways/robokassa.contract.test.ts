import { startRobokassaEmulator } from '@kopilka/emulators/robokassa'
import type { WebhookRequest } from '@kopilka/extension'
import { describeGateway } from '../../../../test/gateway-contract.ts'
import robokassa from './robokassa.ts'

const SHOP = {
  merchant_login: 'demo_shop',
  password1: 'canary-live-password-1-abcdef',
  password2: 'canary-live-password-2-abcdef',
  test_password1: 'canary-test-password-1-abcdef',
  test_password2: 'canary-test-password-2-abcdef',
}

let real: WebhookRequest | undefined

const form = (request: WebhookRequest) => new URLSearchParams(request.raw_body.toString('utf8'))

/** What the vendor signs of a form, without regard to the case it may spell it in. */
function signedPart(request: WebhookRequest): string {
  const entries = [...form(request)].map(([name, value]): [string, string] =>
    /^shp_/i.test(name) ? [name, value] : [name.toLowerCase(), value],
  )
  const signed = entries.filter(([name]) => /^shp_|^(?:outsum|invid|inv_id)$/i.test(name))
  const signature = entries.filter(([name]) => name === 'signaturevalue')
  return JSON.stringify([signed, signature.map(([, value]) => value.toLowerCase())])
}

describeGateway({
  gateway: robokassa,
  file_url: import.meta.resolve('./robokassa.ts'),
  refunds_elsewhere: 'test payments have none: scenarios/robokassa-refunds.test.ts',
  currency: 'RUB',
  trust: 'signed',
  async start(webhook_url) {
    const emulator = await startRobokassaEmulator({ webhook_url, settings: SHOP, retry_scale: 0.001 })
    const { merchant_login, test_password1: password1, test_password2: password2 } = SHOP
    return {
      settings: {
        merchant_login,
        password1,
        password2,
        is_test: true,
        pay_url: `${emulator.base_url}/Merchant`,
        services_url: emulator.base_url,
        receipts_url: emulator.base_url,
      },
      vendor_url: emulator.base_url,
      close: () => emulator.close(),
    }
  },
  objects: {
    payments: {
      collection: 'payments',
      read: (object) => ({
        external_id: String(object['id']),
        our_id: (object['shp'] as Record<string, string>)['Shp_payment'],
        amount: BigInt(object['amount'] as number),
        currency: 'RUB',
      }),
    },
    unknown_id: '2000000000',
    are_created_by_call: false,
  },
  async realWebhook(lab) {
    const { external_id = '', checkout_url = '' } = await lab.create(lab.newPayment())
    await fetch(checkout_url)
    await lab.vendor?.complete(external_id, 'succeeded')
    real = await lab.receiver.take((request) => form(request).get('InvId') === external_id)
    return real
  },
  undated: 'ResultURL signs no time; the JWS does, see robokassa.test.ts',
  proof: {
    read: (request) => form(request).get('SignatureValue') ?? undefined,
    write(request, value) {
      const fields = form(request)
      fields.delete('SignatureValue')
      for (const one of [value].flat()) if (one !== undefined) fields.append('SignatureValue', one)
      return { ...request, raw_body: Buffer.from(fields.toString()) }
    },
    may_change_case: true,
    // The fee, the e-mail and the method are not signed, and are not read.
    covers: (altered) => real === undefined || signedPart(altered) !== signedPart(real),
  },
})
