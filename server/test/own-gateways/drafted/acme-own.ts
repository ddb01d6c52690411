import {
  baseUrlField,
  callVendor,
  clipText,
  defineGateway,
  GatewayMisconfigured,
  hideSecrets,
  readAnswer,
  readJsonBody,
  secretField,
  textField,
} from '@kopilka/extension'
import type { GatewayContext, VendorPayment } from '@kopilka/extension'
import { z } from 'zod'

const configSchema = z.object({
  shop_id: textField('Shop id', { max: 64 }),
  secret_key: secretField('Secret key'),
  base_url: baseUrlField('API address', 'https://api.acme-own.example'),
})
type Config = z.infer<typeof configSchema>

const ID = /^[\w-]{1,64}$/
const Payment = z.object({
  id: z.string().regex(ID),
  reference: z.string().max(64),
  status: z.string(),
  amount: z.int().nonnegative(),
  currency: z.string().max(8),
  page: z.url({ protocol: /^https?$/ }).optional(),
})
const Refusal = z.object({ error: z.string() })
const Notification = z.object({
  event: z.string().regex(/^payment\.\w{1,20}$/),
  payment: z.object({ id: z.string().regex(ID) }),
})
const STATUSES = new Map([
  ['paid', 'succeeded'],
  ['canceled', 'canceled'],
] as const)

/** The draft of `npm run new own-gateway acme-own` with its holes filled, for the vendor drafted with it. */
export default defineGateway<Config>({
  id: 'acme-own',
  title: 'Acme Own',
  currencies: ['RUB'],
  configSchema,
  isTest: (config) => config.secret_key.startsWith('test_'),

  async createPayment(config, { payment_id, amount, currency }, context) {
    const body = { reference: payment_id, amount: Number(amount), currency }
    const answer = await ask(config, context, { path: '/payments', body })
    if (typeof answer === 'string') return { status: 'failed', failure_reason: answer }
    const { id, page } = answer
    return {
      status: 'pending',
      external_id: id,
      payment: toPayment(answer),
      ...(page === undefined ? {} : { checkout_url: page }),
    }
  },

  async getPayment(config, { external_id, payment_id }, context) {
    if (external_id !== undefined && !ID.test(external_id)) return undefined
    const path = external_id === undefined ? `/payments?reference=${payment_id}` : `/payments/${external_id}`
    const answer = await ask(config, context, { path })
    return typeof answer === 'string' ? undefined : toPayment(answer)
  },

  /** Nothing is signed: it only says where to look. */
  async parseWebhook(_config, request) {
    const { success, data } = Notification.safeParse(readJsonBody(request))
    if (!success) return { verdict: 'refused', status: 400, reason: 'not a notification' }
    const { event: type, payment } = data
    const base = { kind: 'payment', trust: 'hint', type, external_id: payment.id } as const
    return { verdict: 'accepted', events: [{ ...base, external_event_id: `${type}:${payment.id}` }] }
  },
})

/** One call; a text is the vendor's refusal of it. */
async function ask(
  { base_url, secret_key }: Config,
  { timeout_ms }: GatewayContext,
  { path, body }: { path: string; body?: object },
): Promise<z.infer<typeof Payment> | string> {
  const answer = await callVendor({
    method: body ? 'POST' : 'GET',
    url: base_url + path,
    headers: { authorization: `Bearer ${secret_key}`, 'content-type': 'application/json' },
    timeout_ms,
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  if (answer.status === 200 || answer.status === 201) return readAnswer(Payment, answer.json())
  const told = Refusal.safeParse(answer.json()).data?.error ?? `status ${answer.status}`
  const refusal = clipText(hideSecrets(told, [secret_key]), 200)
  if (answer.status === 401 || answer.status === 403) throw new GatewayMisconfigured(refusal)
  return refusal
}

function toPayment({ id, reference, status, amount, currency }: z.infer<typeof Payment>): VendorPayment {
  const known = STATUSES.get(status as 'paid') ?? 'pending'
  return {
    external_id: id,
    payment_id: reference,
    status: known,
    amount: BigInt(amount),
    currency,
    ...(known === 'canceled' ? { failure_reason: 'canceled' } : {}),
  }
}
