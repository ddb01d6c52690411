import type { Db } from '#kernel/db'
import { createDispatcher, type Dispatcher, type NotificationsKit } from '#modules/notifications'
import type { AppSettings } from './app.ts'
import { createWebhookSender } from './transports/webhook.ts'

/**
 * What tells the owner's app: the kit of its module, with the way out, and the sender that is
 * started where there
 * is a worker.
 */
export function createNotifications(
  db: Db,
  { mode, webhook_networks, box, log }: Pick<AppSettings, 'mode' | 'webhook_networks' | 'box' | 'log'>,
  { clock, events }: Pick<NotificationsKit, 'clock' | 'events'>,
): { kit: NotificationsKit; dispatcher: Dispatcher } {
  const transport = createWebhookSender({ may_use_http: mode === 'sandbox', networks: webhook_networks })
  const kit: NotificationsKit = {
    clock,
    events,
    box,
    transport,
    realTime: Date.now,
    wake: () => dispatcher.wake(),
    notice: (message, facts) => log.warn(facts, message),
  }
  const dispatcher = createDispatcher(db, kit, {
    on_error: (error) => log.error({ error }, 'webhooks could not be delivered'),
  })
  return { kit, dispatcher }
}
