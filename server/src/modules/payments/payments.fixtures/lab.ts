import { defineGateway, type Gateway } from '@kopilka/extension'
import { z } from 'zod'
import { frozenClock, type MovableClock } from '#kernel/clock'
import type { Db } from '#kernel/db'
import { createEvents } from '#kernel/events'
import { createJobQueue } from '#kernel/job-queue'
import { silentLog } from '#kernel/log'
import { createGateways } from '../gateways.ts'
import type { PaymentsKit } from '../kit.ts'
import { intendPayment, getPayment, type NewPayment } from '../payments.ts'
import type { PaymentRow } from '../payment-queries.ts'
import { testDatabase } from '../../../../test/db.ts'

/** What a vendor does in one test; what is left out cannot be done there. */
type Script = Partial<
  Pick<
    Gateway,
    | 'createPayment'
    | 'getPayment'
    | 'capturePayment'
    | 'cancelPayment'
    | 'refund'
    | 'getRefund'
    | 'chargeSavedMethod'
    | 'removeSavedMethod'
  >
>

/** Payments without orders above them, at a vendor that does what a script says. */
export interface PaymentsLab {
  db: Db
  kit: PaymentsKit
  clock: MovableClock
  /** Lines for people, in order. */
  notices: { message: string; facts: Readonly<Record<string, unknown>> }[]
  /** Sets up the gateway `scripted` anew. */
  follow: (script: Script, more?: Partial<Gateway>) => void
  intend: (change?: Partial<NewPayment>) => Promise<string>
  /** Changes payments behind everybody's back; without an id all of them. */
  set: (row: Readonly<Record<string, unknown>>, id?: string) => Promise<void>
  /** A payment that is at the vendor under `ext_…`, in a status. */
  existing: (change?: Partial<PaymentRow>) => Promise<PaymentRow>
  close: () => Promise<void>
}

/** Opens a lab; the caller closes it. */
export async function openPaymentsLab(): Promise<PaymentsLab> {
  const database = await testDatabase()
  const { db } = database
  const clock = frozenClock(new Date())
  const events = createEvents(createJobQueue({ db, clock, log: silentLog() }))
  const notices: PaymentsLab['notices'] = []
  const gatewaysOf = (gateway: Gateway) => {
    const gateways = createGateways([gateway], {
      clock,
      mode: 'sandbox',
      base_url: () => 'http://kopilka.test',
    })
    gateways.configure(gateway.id, {})
    return gateways
  }
  const kit: PaymentsKit = {
    clock,
    events,
    gateways: gatewaysOf(scripted({})),
    notice: (message, facts) => void notices.push({ message, facts }),
  }
  let count = 0
  const intend = (change: Partial<NewPayment> = {}): Promise<string> => {
    count += 1
    return db.transact((tx) =>
      intendPayment(tx, kit, {
        order_id: `ord_${count}`,
        customer_id: `cus_${count}`,
        gateway: 'scripted',
        amount: 10_000n,
        currency: 'RUB',
        description: 'units',
        return_url: 'https://shop.example/back',
        capture: 'automatic',
        locale: 'en',
        expires_at: new Date(clock.now_ms() + 86_400_000),
        ...change,
      }),
    )
  }
  const set: PaymentsLab['set'] = async (row, id) => {
    await db.transact(async (tx) => {
      const update = tx.updateTable('payments.payments').set(row as never)
      await (id === undefined ? update : update.where('id', '=', id)).execute()
    })
  }
  return {
    db,
    kit,
    clock,
    notices,
    intend,
    set,
    follow: (script, more = {}) => {
      kit.gateways = gatewaysOf(scripted(script, more))
    },
    existing: async (change = {}) => {
      const id = await intend()
      await set({ external_id: `ext_${id}`, checkout_url: 'https://vendor.example/pay', ...change }, id)
      return getPayment(db, id)
    },
    close: database.close,
  }
}

function scripted(script: Script, more: Partial<Gateway> = {}): Gateway {
  return defineGateway({
    id: 'scripted',
    title: 'Scripted',
    currencies: ['RUB'],
    configSchema: z.unknown(),
    isTest: () => true,
    createPayment: async () => ({ status: 'pending', checkout_url: 'https://vendor.example/pay' }),
    getPayment: async () => undefined,
    parseWebhook: () => ({ verdict: 'refused', status: 400, reason: 'not scripted' }),
    ...script,
    ...more,
  })
}
