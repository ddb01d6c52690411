import { startRobokassaEmulator } from '@kopilka/emulators/robokassa'
import type { Emulator } from '@kopilka/emulators/emulator'
import { GatewayMisconfigured, GatewayUnavailable, type Gateway, type VendorRefund } from '@kopilka/extension'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import robokassa from './gateways/robokassa.ts'
import { carryOutRefund, checkRefunds, createGateways, getPayment, getRefund, intendRefund } from './index.ts'
import type { PaymentsKit } from './kit.ts'
import { recordSeenOutcome } from './refund-review.ts'
import { openPaymentsLab, type PaymentsLab } from './payments.fixtures/lab.ts'

/** Longer than anybody asks for a refund. */
const LEASE_OVER_MS = 121_000

let lab: PaymentsLab
beforeAll(async () => {
  lab = await openPaymentsLab()
})
afterAll(() => lab?.close())

let count = 0
const intend = (kit: PaymentsKit, payment_id: string, amount = 4000n) =>
  lab.db.transact((tx) =>
    intendRefund(tx, kit, {
      refund_id: `re_asked_${(count += 1)}`,
      payment_id,
      amount,
      reason: 'asked',
      requested_by: 'key_1',
    }),
  )
const twenty = <T>(work: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: 20 }, () => work()))

describe('a refund at a vendor that keeps no key and no list of them', () => {
  let emulator: Emulator
  const abandoned: Promise<unknown>[] = []
  beforeAll(async () => {
    emulator = await startRobokassaEmulator()
  })
  beforeEach(() => emulator.control.reset())
  afterAll(async () => {
    // Only now do those learn that nobody answers who asked in a process that is dead by then.
    await emulator?.close()
    await Promise.allSettled(abandoned)
  })

  /** What a process knows that was just started: the settings and the database. */
  function freshProcess(): PaymentsKit {
    const options = { clock: lab.clock, mode: 'live', base_url: () => 'http://kopilka.test' } as const
    const gateways = createGateways([robokassa as Gateway], options)
    gateways.configure('robokassa', {
      merchant_login: 'demo_shop',
      password1: 'robokassa_live_password_1',
      password2: 'robokassa_live_password_2',
      password3: 'robokassa_live_password_3',
      pay_url: `${emulator.base_url}/Merchant`,
      services_url: emulator.base_url,
      receipts_url: emulator.base_url,
      receipts: false,
    })
    return { ...lab.kit, gateways }
  }

  async function paid(kit: PaymentsKit): Promise<string> {
    lab.kit.gateways = kit.gateways
    const id = await lab.intend({ gateway: 'robokassa' })
    const { number } = await getPayment(lab.db, id)
    const { gateway, config } = kit.gateways.get('robokassa')
    const created = await gateway.createPayment(
      config,
      {
        payment_id: id,
        payment_number: number,
        order_id: 'ord_1',
        customer_id: 'cus_1',
        amount: 10_000n,
        currency: 'RUB',
        description: 'units',
        return_url: 'https://shop.example/back',
        capture: true,
        save_method: false,
        locale: 'ru',
        expires_at: new Date(Date.now() + 3_600_000),
      },
      kit.gateways.context('robokassa'),
    )
    await fetch(created.checkout_url ?? '')
    emulator.control.complete(String(number), 'succeeded')
    await lab.set({ status: 'succeeded', captured_amount: 10_000n, external_id: String(number) }, id)
    return id
  }

  const made = () => emulator.control.objects({ collection: 'refunds' }).items

  it('is asked for once, though the process died before the answer and others go on with it', async () => {
    const first = freshProcess()
    const { id } = await intend(first, await paid(first))
    emulator.control.faults({ timeout_after_charge: 1 })
    abandoned.push(carryOutRefund(lab.db, first, id))
    await expect.poll(made, { timeout: 20_000 }).toHaveLength(1)
    const second = freshProcess()
    await twenty(() => carryOutRefund(lab.db, second, id))
    lab.clock.advance(LEASE_OVER_MS)
    const third = freshProcess()
    lab.notices.length = 0
    await twenty(() => carryOutRefund(lab.db, third, id))
    await checkRefunds(lab.db, third)
    expect(made()).toHaveLength(1)
    const left = await getRefund(lab.db, id)
    expect(left).toMatchObject({ status: 'unknown', failure_reason: 'not_answered' })
    expect(left.next_check_at).not.toBeNull()
    // A person has looked; the same again changes nothing, and another word of his neither.
    const seen = (status: 'succeeded' | 'failed', which = id) =>
      lab.db.transact((tx) => recordSeenOutcome(tx, third, which, { status }))
    for (const ended of await twenty(() => seen('succeeded'))) expect(ended.status).toBe('succeeded')
    await expect(seen('failed')).rejects.toMatchObject({ code: 'invalid_state' })
    expect((await getPayment(lab.db, left.payment_id)).refunded_amount).toBe(4000n)
    const { id: waiting } = await intend(third, left.payment_id, 1000n)
    await expect(seen('failed', waiting)).rejects.toMatchObject({ code: 'invalid_state' })
    expect(lab.notices.filter(({ message }) => message.includes('only a person'))).toHaveLength(1)
  }, 60_000)

  it('that the vendor has taken on is not asked for again by another process', async () => {
    const first = freshProcess()
    const { id } = await intend(first, await paid(first))
    emulator.control.settings({ refund_outcome: 'processing' })
    expect(await carryOutRefund(lab.db, first, id)).toMatchObject({ status: 'pending' })
    const second = freshProcess()
    await twenty(() => carryOutRefund(lab.db, second, id))
    expect(made()).toHaveLength(1)
    expect((await getRefund(lab.db, id)).status).toBe('pending')
  })

  it('that failed on the way to being asked for is asked for by the next', async () => {
    const first = freshProcess()
    const { id } = await intend(first, await paid(first))
    emulator.control.faults({ error_429: 1, scope: 'reads' })
    expect(await carryOutRefund(lab.db, first, id)).toMatchObject({ status: 'pending', external_id: null })
    expect(made()).toHaveLength(0)
    await twenty(() => carryOutRefund(lab.db, freshProcess(), id))
    expect(made()).toHaveLength(1)
    expect(await getRefund(lab.db, id)).toMatchObject({ external_id: expect.any(String) })
  })
})

describe('a refund at a vendor that can be looked at', () => {
  const done = (refund_id: string): VendorRefund => ({
    external_id: `ext_${refund_id}`,
    status: 'succeeded',
    amount: 4000n,
    currency: 'RUB',
  })
  const paid = async () => (await lab.existing({ status: 'succeeded', captured_amount: 10_000n })).id
  const carryOut = (id: string) => carryOutRefund(lab.db, lab.kit, id)

  it.each(['same', 'looked_for'] as const)(
    'is found before it is asked for again, where a repeat is %s',
    async (refund_repeats) => {
      let asked = 0
      let kept: VendorRefund | undefined
      const script = {
        refund: async (_config: unknown, { refund_id }: { refund_id: string }): Promise<VendorRefund> => {
          asked += 1
          kept = done(refund_id)
          throw new GatewayUnavailable('timeout')
        },
        getRefund: async () => kept,
      }
      lab.follow(script, { refund_repeats })
      const { id } = await intend(lab.kit, await paid())
      await carryOut(id)
      await twenty(() => carryOut(id))
      expect(asked).toBe(1)
      expect((await getRefund(lab.db, id)).status).toBe('succeeded')
    },
  )

  it('and takes a repeat for another refund is given time to show the first', async () => {
    let asked = 0
    const script = {
      refund: async (_config: unknown, { refund_id }: { refund_id: string }): Promise<VendorRefund> => {
        asked += 1
        if (asked === 1) throw new GatewayUnavailable('timeout')
        return done(refund_id)
      },
      getRefund: async () => undefined,
    }
    lab.follow(script, { refund_repeats: 'looked_for' })
    const { id } = await intend(lab.kit, await paid())
    await carryOut(id)
    await twenty(() => carryOut(id))
    expect(asked).toBe(1)
    lab.clock.advance(LEASE_OVER_MS)
    await twenty(() => carryOut(id))
    expect(asked).toBe(2)
    expect((await getRefund(lab.db, id)).status).toBe('succeeded')
  })

  it('is asked for by one of twenty at once, and by nobody while nobody can look', async () => {
    let asked = 0
    let kept: VendorRefund | undefined
    const failing = {
      refund: async (_config: unknown, { refund_id }: { refund_id: string }): Promise<VendorRefund> => {
        asked += 1
        await new Promise((resolve) => setTimeout(resolve, 50))
        kept = done(refund_id)
        return kept
      },
      getRefund: async () => kept,
    }
    lab.follow(failing)
    const { id } = await intend(lab.kit, await paid())
    await twenty(() => carryOut(id))
    expect(asked).toBe(1)
    const blind = { ...failing, getRefund: () => Promise.reject(new GatewayUnavailable('down')) }
    lab.follow({ ...failing, refund: () => Promise.reject(new GatewayUnavailable('timeout')) })
    const other = await intend(lab.kit, await paid())
    kept = undefined
    await carryOut(other.id)
    lab.follow(blind)
    await carryOut(other.id)
    expect(asked).toBe(1)
    expect((await getRefund(lab.db, other.id)).status).toBe('unknown')
  })

  it('that was confirmed and is not known there any more is left to a person', async () => {
    let asked = 0
    lab.follow({
      refund: async (_config, { refund_id }) => {
        asked += 1
        return { ...done(refund_id), status: 'pending' }
      },
      getRefund: async () => undefined,
    })
    const { id } = await intend(lab.kit, await paid())
    await carryOut(id)
    await carryOut(id)
    expect(asked).toBe(1)
    expect(await getRefund(lab.db, id)).toMatchObject({
      status: 'pending',
      failure_reason: 'unknown_to_vendor',
    })
  })

  it('is as if never asked for when the settings are wrong, but unknown if it was before', async () => {
    lab.follow({
      refund: () => Promise.reject(new GatewayMisconfigured('key')),
      getRefund: async () => undefined,
    })
    const { id } = await intend(lab.kit, await paid())
    await expect(carryOut(id)).rejects.toThrow('misconfigured')
    expect((await getRefund(lab.db, id)).status).toBe('pending')
    lab.follow({
      refund: () => Promise.reject(new GatewayUnavailable('timeout')),
      getRefund: async () => undefined,
    })
    expect((await carryOut(id)).status).toBe('unknown')
    lab.follow({
      refund: () => Promise.reject(new GatewayMisconfigured('key')),
      getRefund: async () => undefined,
    })
    await expect(carryOut(id)).rejects.toThrow('misconfigured')
    expect((await getRefund(lab.db, id)).status).toBe('unknown')
  })
})
