import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import { addRoute, type Call, type RouteKit } from '#http/routing'
import { receiveWebhook, type StoreEvents } from './inbox.ts'
import type { PaymentsKit } from './kit.ts'
import type { SandboxConfig } from './gateways/sandbox.ts'
import {
  buildNotifications,
  readButton,
  readVisit,
  renderSandboxPage,
  type SandboxPage,
} from './sandbox-page.ts'

const who = { anonymous: true, proof: 'a signed link' } as const
const params = z.object({ payment_id: z.string().max(100) })
const query = z.object({ link: z.string().max(8000).optional() })
type PageCall = Call<z.infer<typeof params>, z.infer<typeof query>>

/**
 * The sandbox gateway's pay page. Its buttons hand signed notifications to the same door as any vendor's:
 * nothing about a payment is decided here. Answers 404 when the sandbox is not set up, as it never is on a
 * live installation.
 */
export function sandboxRoutes(
  app: FastifyInstance,
  kit: RouteKit,
  payments: PaymentsKit,
  store: StoreEvents,
): void {
  const visitOf = ({ params: { payment_id }, query: { link } }: PageCall) => {
    const ready = payments.gateways.find('sandbox')
    if (!ready) return undefined
    const config = ready.config as SandboxConfig
    return { config, visit: readVisit(config, { payment_id, link, now: kit.clock.now() }) }
  }
  addRoute(app, kit, {
    method: 'GET',
    url: '/sandbox/pay/:payment_id',
    who,
    tag: 'sandbox',
    is_hidden: true,
    summary: 'The sandbox’s pay page',
    params,
    query,
    answer: z.string(),
    reply: async (call, reply) => {
      const found = visitOf(call)
      return sendPage(reply, renderSandboxPage(found?.visit ?? { state: 'unknown' }, address(call)))
    },
  })
  addRoute(app, kit, {
    method: 'POST',
    url: '/sandbox/pay/:payment_id',
    who,
    tag: 'sandbox',
    is_hidden: true,
    is_form: true,
    summary: 'A button of the sandbox’s pay page',
    params,
    query,
    answer: z.string(),
    reply: async (call, reply, request) => {
      const found = visitOf(call)
      if (!found || found.visit.state !== 'open') {
        return sendPage(reply, renderSandboxPage(found?.visit ?? { state: 'unknown' }, address(call)))
      }
      const { link } = found.visit
      const button = readButton(link, (request.body as { button?: unknown } | undefined)?.button)
      if (button === undefined) return sendPage(reply, renderSandboxPage(found.visit, address(call)))
      const now = kit.clock.now()
      for (const notification of buildNotifications(found.config, { link, button, now })) {
        const deliver = () =>
          receiveWebhook(payments, store, 'sandbox', {
            method: 'POST',
            path: notification.path,
            headers: notification.headers,
            query: {},
            raw_body: Buffer.from(notification.body),
            remote_address: request.ip,
          })
        if (notification.delay_ms === 0) await deliver()
        else deliverLater(payments, deliver, notification.delay_ms)
      }
      return reply.status(303).header('location', link.return_url).send('')
    },
  })
}

function deliverLater(payments: PaymentsKit, deliver: () => Promise<unknown>, delay_ms: number): void {
  setTimeout(() => {
    deliver().catch((error: unknown) =>
      payments.notice('a late sandbox notification was lost', { message: String(error) }),
    )
  }, delay_ms).unref()
}

function address({ query: { link }, headers }: PageCall): { link: unknown; accept_language?: string } {
  const accept_language = headers['accept-language']
  return { link, ...(accept_language === undefined ? {} : { accept_language }) }
}

function sendPage(reply: FastifyReply, page: SandboxPage): FastifyReply {
  return reply.status(page.status).headers(page.headers).serializer(String).send(page.html)
}
