import type { Draft } from './draft.ts'
import { camel, newGateway, title } from './gateway.ts'

const OWN_FOLDER = 'extensions/gateways'

/** A gateway of one's own, loaded without a build, with its contract test and the vendor this test plays. */
export function newOwnGateway(root: string, id: string): Draft {
  const draft = newGateway(root, id)
  const [text = ''] = Object.values(draft.files)
  return {
    files: {
      [`${OWN_FOLDER}/${id}.ts`]: text,
      [`${OWN_FOLDER}/${id}.test.ts`]: ownContractTest(id),
      [`${OWN_FOLDER}/${id}/emulator.ts`]: EMULATOR.replaceAll('__ID__', id).replaceAll(
        '__TITLE__',
        title(id),
      ),
    },
    edits: {},
    next: [
      `npm test -- ${OWN_FOLDER}/${id}.test.ts          (it fails and says what is missing)`,
      `bring ${OWN_FOLDER}/${id}/emulator.ts to what the vendor does; then fill the holes of ${id}.ts`,
    ],
  }
}

function ownContractTest(id: string): string {
  const name = camel(id)
  return `import { describeGateway } from '../../server/test/gateway-contract.ts'
import ${name} from './${id}.ts'
import { startVendor } from './${id}/emulator.ts'

const KEYS = { secret_key: 'test_canary-0123456789abcdef' }

describeGateway({
  gateway: ${name},
  file_url: import.meta.resolve('./${id}.ts'),
  currency: 'RUB',
  // With signed ones: \`trust: 'signed'\`, \`proof\` and \`resign\`, as in the test of the gateway stripe.
  trust: 'hint',
  async start(webhook_url) {
    const vendor = await startVendor({ webhook_url, settings: KEYS, retry_scale: 0.001 })
    return {
      settings: { ...KEYS, shop_id: '1', base_url: vendor.base_url },
      vendor_url: vendor.base_url,
      close: () => vendor.close(),
    }
  },
  // How the vendor's own objects are read, so that the gateway's word is compared with the fact.
  objects: {
    payments: {
      collection: 'payments',
      read: (object) => ({
        external_id: String(object['id']),
        our_id: String(object['reference']),
        amount: BigInt(object['amount'] as number),
        currency: String(object['currency']),
      }),
    },
    withUnknownStatus: (answer) => answer.replaceAll(/"status":"\\w+"/g, '"status":"reviewed"'),
  },
  // A notification as the vendor sends it, of a payment made through the gateway and paid at the emulator.
  async realWebhook(lab) {
    const { external_id = '' } = await lab.create(lab.newPayment())
    await lab.vendor?.complete(external_id, 'succeeded')
    return lab.receiver.take((request) => request.raw_body.includes(external_id))
  },
})
`
}

const EMULATOR = `import { createStore, defineEmulator, startEmulator } from '@kopilka/emulators/emulator'
import { unknownObject, wrongState } from '@kopilka/emulators/emulator'
import type { BaseSettings, Emulator, EmulatorOptions } from '@kopilka/emulators/emulator'

interface Settings extends BaseSettings {
  secret_key: string
}

/** A payment as the vendor keeps it. \`reference\` is our payment id. */
interface Payment {
  id: string
  reference: string
  status: string
  amount: number
  currency: string
}

/** __TITLE__ from the vendor's side: bring paths, fields and signature to what its documents say. */
export const emulator = defineEmulator<Settings>({
  id: '__ID__',
  title: '__TITLE__',
  description: 'Payments.',
  retry_schedule_ms: [60_000, 600_000],
  settings: {
    secret_key: {
      schema: { type: 'string', minLength: 16 },
      default: 'test_secret_key_of_the_emulator',
      description: 'Secret key.',
      is_secret: true,
    },
  },
  create(kit) {
    const payments = createStore<Payment>()
    const known = (reference: string) => [...payments.values()].find((one) => one.reference === reference)
    return {
      collections: { payments },
      reset: () => payments.clear(),
      routes(app) {
        app.addHook('onRequest', async (request, reply) => {
          if (request.headers.authorization === \`Bearer \${kit.settings().secret_key}\`) return undefined
          return reply.code(401).send({ error: 'unauthorized' })
        })
        // The same reference again is the same payment.
        app.post<{ Body: Omit<Payment, 'id' | 'status'> }>('/payments', async ({ body }, reply) => {
          const { reference, amount, currency } = body
          const id = \`pay_\${kit.random.hex(16)}\`
          const payment = known(reference) ?? { id, reference, status: 'new', amount, currency }
          payments.add(payment.id, payment)
          const page = \`\${kit.base_url()}/pay/\${payment.id}\`
          return reply.code(201).send({ ...payment, page })
        })
        app.get<{ Params: { id: string } }>('/payments/:id', async ({ params }, reply) => {
          return payments.get(params.id) ?? reply.code(404).send({ error: 'not_found' })
        })
        app.get<{ Querystring: { reference: string } }>('/payments', async ({ query }, reply) => {
          return known(query.reference) ?? reply.code(404).send({ error: 'not_found' })
        })
      },
      complete(id, { outcome }) {
        const payment = payments.get(id)
        if (!payment) throw unknownObject(id)
        if (payment.status !== 'new') throw wrongState(id, payment.status)
        payment.status = outcome === 'succeeded' ? 'paid' : 'canceled'
        const event = \`payment.\${payment.status}\`
        const body = JSON.stringify({ event, payment })
        kit.notify({ object_id: id, event, headers: { 'content-type': 'application/json' }, body })
        return payment
      },
      // Every lie an attacker could tell belongs here: another amount, another order, a wrong signature.
      forge(id) {
        const payment = payments.get(id)
        if (!payment) return []
        const body = JSON.stringify({ event: 'payment.paid', payment: { ...payment, status: 'paid' } })
        const headers = { 'content-type': 'application/json' }
        return [{ object_id: id, event: 'payment.paid', headers, body, note: 'nobody paid' }]
      },
    }
  },
})

/** Starts the vendor; close it when done. */
export function startVendor(options?: EmulatorOptions<Settings>): Promise<Emulator> {
  return startEmulator(emulator, options)
}
`
