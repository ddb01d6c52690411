import { startRustoreEmulator } from '@kopilka/emulators/rustore'
import type { WebhookRequest } from '@kopilka/extension'
import { describeGateway } from '../../../../test/gateway-contract.ts'
import rustore from './rustore.ts'

const NOTIFICATION_KEY = Buffer.from('canary-notification-key-01234567').toString('base64')
let real: WebhookRequest | undefined

function payloadOf(request: WebhookRequest): unknown {
  try {
    return (JSON.parse(request.raw_body.toString('utf8')) as { payload?: unknown } | null)?.payload
  } catch {
    return undefined
  }
}

describeGateway({
  gateway: rustore,
  file_url: import.meta.resolve('./rustore.ts'),
  refunds_elsewhere: 'a refund there is a state of the invoice: rustore.test.ts',
  currency: 'RUB',
  trust: 'signed',
  async start(webhook_url) {
    const settings = { notification_key: NOTIFICATION_KEY }
    const emulator = await startRustoreEmulator({ webhook_url, settings, retry_scale: 0.001 })
    const made = await fetch(`${emulator.base_url}/console/keys`, { method: 'POST' })
    const { key_id, private_key } = (await made.json()) as Record<string, string>
    return {
      settings: {
        key_id,
        private_key,
        app_id: '12345',
        package_name: 'com.example.app',
        notification_key: NOTIFICATION_KEY,
        app_url: 'https://app.example/buy',
        sandbox: true,
        base_url: emulator.base_url,
      },
      vendor_url: emulator.base_url,
      close: () => emulator.close(),
    }
  },
  objects: {
    payments: {
      collection: 'invoices',
      read: (object) => ({
        external_id: String(object['id']),
        our_id: object['developer_payload'] as string,
        amount: BigInt(object['amount'] as number),
        currency: 'RUB',
      }),
    },
    unknown_id: '999999999',
    are_created_by_call: false,
    are_found_by_our_id: false,
  },
  async realWebhook(lab) {
    const { payment_id, amount } = lab.newPayment()
    const made = await fetch(`${lab.stand.vendor_url ?? ''}/sdk/purchases`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        product_code: 'tokens_100',
        amount: Number(amount),
        developer_payload: payment_id,
        is_sandbox: true,
      }),
    })
    const { invoice_id } = (await made.json()) as { invoice_id: string }
    await lab.vendor?.complete(invoice_id, 'succeeded')
    real = await lab.receiver.take((request) => typeof payloadOf(request) === 'string')
    return real
  },
  undated: 'the vendor repeats the same bytes for 36 hours, and every purchase is read anew',
  proof: {
    read: (request) => payloadOf(request) as string | undefined,
    write(request, value) {
      const told = JSON.parse(request.raw_body.toString('utf8')) as Record<string, unknown>
      const { payload: _, ...rest } = told
      const body = JSON.stringify(value === undefined ? rest : { ...rest, payload: value })
      return { ...request, raw_body: Buffer.from(body) }
    },
    // The envelope's id and time are not encrypted, and are not read.
    covers: (altered) => real === undefined || payloadOf(altered) !== payloadOf(real),
  },
})
