import { createHmac } from 'node:crypto'
import { defineGateway, readJsonBody, sameBytes, secretField, singleHeader } from '@kopilka/extension'
import { z } from 'zod'

const configSchema = z.object({ secret_key: secretField('Secret key') })
const Word = z.object({ id: z.string(), reference: z.string(), amount: z.int(), currency: z.string() })

/** A gateway of an owner's own, as small as can be: a link to pay at, and one signed word. */
export default defineGateway<z.infer<typeof configSchema>>({
  id: 'acme',
  title: 'Acme',
  currencies: ['RUB'],
  configSchema,
  isTest: (config) => config.secret_key.startsWith('test_'),
  async createPayment(_config, { payment_id }) {
    return { status: 'pending', external_id: `acme_${payment_id}`, checkout_url: 'https://acme.example/pay' }
  },
  async getPayment() {
    return undefined
  },
  async parseWebhook({ secret_key }, request) {
    const mac = createHmac('sha256', secret_key).update(request.raw_body).digest('hex')
    if (!sameBytes(singleHeader(request, 'acme-mac') ?? '', mac)) {
      return { verdict: 'refused', status: 401, reason: 'bad signature' }
    }
    const word = Word.safeParse(readJsonBody(request))
    if (!word.success) return { verdict: 'refused', status: 400, reason: 'not an event' }
    const { id, reference: payment_id, amount, currency } = word.data
    const payment = {
      external_id: id,
      payment_id,
      status: 'succeeded',
      amount: BigInt(amount),
      currency,
    } as const
    const event = { kind: 'payment', trust: 'signed', external_event_id: `paid:${id}`, type: 'paid' } as const
    return { verdict: 'accepted', events: [{ ...event, external_id: id, payment }] }
  },
})
