import { checkName, type Draft } from './draft.ts'

const FOLDER = 'server/src/modules/payments/gateways'

/**
 * A gateway file with its holes, and its contract test. The file is right in form: it loads, it passes types
 * and lint; each hole says by name that it is not written, and the contract test fails with these words.
 */
export function newGateway(_root: string, id: string): Draft {
  checkName(
    id,
    /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/,
    'lower case words joined by -; it is also the webhook path',
  )
  return {
    files: { [`${FOLDER}/${id}.ts`]: gateway(id), [`${FOLDER}/${id}.test.ts`]: contractTest(id) },
    edits: {},
    next: [
      `npm test -- ${FOLDER}/${id}.test.ts          (it fails and says what is missing)`,
      `play the vendor in emulators/${id}.ts, as emulators/yookassa.ts does; then fill the holes`,
    ],
  }
}

/** `acme-pay` as people read it: `Acme Pay`. */
export function title(id: string): string {
  return id
    .split('-')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join(' ')
}

/** `acme-pay` as code names it: `acmePay`. */
export function camel(id: string): string {
  return id.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

function gateway(id: string): string {
  return `import { baseUrlField, defineGateway, secretField, textField } from '@kopilka/extension'
import { z } from 'zod'

/** What the owner fills in; the form in the admin is drawn from it, and secrets are kept encrypted. */
const configSchema = z.object({
  shop_id: textField('Shop id', { max: 64 }),
  secret_key: secretField('Secret key'),
  base_url: baseUrlField('API address', 'https://api.${id}.example'),
})

type Config = z.infer<typeof configSchema>

/**
 * ${title(id)}: which API and version this speaks, what it cannot do, and what the vendor gets wrong.
 * Stateless: configuration and input in, a value out. Amounts are bigint in minor units.
 */
export default defineGateway<Config>({
  id: '${id}',
  title: '${title(id)}',
  currencies: ['RUB'],
  configSchema,

  /** True when these credentials move no real money, by the vendor's own sign. */
  isTest: (config) => config.secret_key.startsWith('test_'),

  /**
   * Gets (config, input, context). \`input.payment_id\` is the idempotency key outside: the same id twice is
   * one payment. A refusal is \`{ status: 'failed', failure_reason }\`; without a readable answer it is
   * GatewayUnavailable, which \`callVendor\` and \`readAnswer\` throw.
   */
  async createPayment() {
    return notWritten('createPayment')
  },

  /** Gets (config, reference, context). An unknown status is \`pending\`; no such payment is undefined. */
  async getPayment() {
    return notWritten('getPayment')
  },

  /**
   * Gets (config, request, context). Verifies \`request.raw_body\` first; a forged one is
   * \`{ verdict: 'refused', status, reason }\`. Trust is \`hint\` where the vendor signs nothing: the core
   * then reads the payment again.
   */
  parseWebhook() {
    return notWritten('parseWebhook')
  },

  /** Gets (config, input, context). The same \`refund_id\` twice is one refund. Leave out if they cannot. */
  async refund() {
    return notWritten('refund')
  },

  /** Gets (config, reference, context): the vendor's word on one refund. */
  async getRefund() {
    return notWritten('getRefund')
  },
})

function notWritten(hole: string): never {
  throw new Error(\`the gateway ${id} is not written yet: \${hole}\`)
}
`
}

function contractTest(id: string): string {
  const name = camel(id)
  return `import { describeGateway } from '../../../../test/gateway-contract.ts'
import ${name} from './${id}.ts'

describeGateway({
  gateway: ${name},
  file_url: import.meta.resolve('./${id}.ts'),
  currency: 'RUB',
  trust: 'hint',
  // Starts the vendor's emulator and says what the owner would fill in: see yookassa.contract.test.ts.
  async start() {
    const settings = { shop_id: '1', secret_key: 'test_canary-0123456789abcdef' }
    return { settings, close: async () => undefined }
  },
  // A notification as the vendor sends it, of a payment made through the gateway and paid at the emulator.
  async realWebhook(lab) {
    await lab.create(lab.newPayment())
    throw new Error('the test of ${id} is not written yet: realWebhook')
  },
})
`
}
