import { GatewayMisconfigured, GatewayUnavailable, present } from '@kopilka/extension'
import { expect, it } from 'vitest'
import type { GatewayFixture, Lab, VendorObjects } from './fixture.ts'
import { expectNoSecret, outcomeOf } from './leaks.ts'
import { startProxy } from './proxy.ts'
import type { ProxiedAnswer } from './proxy.ts'
import type { VendorControl } from './vendor-control.ts'

/** A lab whose gateway has a vendor to call. */
export type VendorLab<Config> = Lab<Config> & { vendor: VendorControl; vendor_url: string }

const AMOUNTS = [1n, 99n, 100n, 59_900n, 1_000_000_000n]

/** What must hold of payments. Facts are read from the vendor, not from the gateway that is under test. */
export function checkPayments<Config>(
  fixture: GatewayFixture<Config>,
  objects: VendorObjects,
  lab: () => VendorLab<Config>,
): void {
  it.each([
    ['the vendor', unknownId(objects)],
    ...(objects.are_found_by_our_id === false ? [] : [['us', undefined]]),
  ])('answers undefined for a payment that is not there by the id of %s', async (_whose, external_id) => {
    const { gateway, config, context, newPayment } = lab()
    const reference = { ...newPayment(), ...present({ external_id }) }
    expect(await gateway.getPayment(config, reference, context)).toBeUndefined()
  })

  it('finds nothing behind a vendor id crafted to be another path', async () => {
    const { gateway, config, context, newPayment } = lab()
    for (const external_id of [
      '',
      '.',
      '..',
      '../me',
      'a/b',
      '?limit=1',
      '%2e%2e',
      '\u0000',
      'x'.repeat(5000),
    ]) {
      const asked = gateway.getPayment(config, { ...newPayment(), external_id }, context)
      const { value, error } = await outcomeOf(asked)
      expect([value, error === undefined || error instanceof GatewayMisconfigured]).toEqual([undefined, true])
    }
  })

  if (objects.are_created_by_call === false) return

  it('makes one payment of one payment id, asked twice in a row and ten times at once', async () => {
    const { newPayment, vendor } = lab()
    const payment = newPayment()
    const first = await lab().create(payment)
    const { external_id, checkout_url } = first
    expect(first).toMatchObject({ status: 'pending', external_id: expect.any(String) })
    expect(await lab().create(payment)).toMatchObject({ status: 'pending', external_id, checkout_url })
    expect(await vendor.paymentsOf(payment.payment_id)).toHaveLength(1)

    const rival = newPayment()
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => outcomeOf(lab().create(rival))))
    const errors = outcomes.flatMap(({ error }) => error ?? [])
    expect(errors.filter((error) => !(error instanceof GatewayUnavailable))).toEqual([])
    expect(errors.length).toBeLessThan(10)
    expect(await vendor.paymentsOf(rival.payment_id)).toHaveLength(1)
  })

  it('makes two payments of two payment ids', async () => {
    const first = await lab().create(lab().newPayment())
    const second = await lab().create(lab().newPayment())
    expect(second.external_id).not.toBe(first.external_id)
  })

  it('sends the buyer to an http address', async () => {
    const { checkout_url = '' } = await lab().create(lab().newPayment())
    expect(new URL(checkout_url).protocol).toMatch(/^https?:$/)
  })

  it.each(fixture.amounts ?? AMOUNTS)('keeps %s minor units exact, there and back', async (amount) => {
    const { gateway, config, context, newPayment, vendor } = lab()
    const payment = newPayment(amount)
    const created = await lab().create(payment)
    const { currency } = payment
    expect(await vendor.paymentsOf(payment.payment_id)).toMatchObject([{ amount, currency }])
    const told = await gateway.getPayment(config, referenceOf(payment, created), context)
    expect(told).toMatchObject({ amount, currency, status: 'pending' })
  })

  it('tells a paid payment as ours: our id or number, the order, test mode, the receiver', async () => {
    const { gateway, config, context, newPayment, vendor } = lab()
    const payment = newPayment()
    const created = await lab().create(payment)
    await vendor.complete(created.external_id ?? '', 'succeeded')
    const told = await gateway.getPayment(config, referenceOf(payment, created), context)
    expect(told).toMatchObject({
      status: 'succeeded',
      amount: payment.amount,
      external_id: created.external_id,
    })
    expect([told?.payment_id, told?.payment_number]).toSatisfy(
      ([id, number]) => id === payment.payment_id || number === payment.payment_number,
    )
    expect([undefined, payment.order_id]).toContain(told?.order_id)
    expect([undefined, true]).toContain(told?.is_test)
    expect(told?.receiver_matches).not.toBe(false)
    expect(told?.fee ?? 0n).toBeGreaterThanOrEqual(0n)
  })

  it('tells a declined payment as failed or canceled, with a reason, and never as paid', async () => {
    const { gateway, config, context, newPayment, vendor } = lab()
    const payment = newPayment()
    const created = await lab().create(payment)
    await vendor.complete(created.external_id ?? '', 'canceled')
    const told = await gateway.getPayment(config, referenceOf(payment, created), context)
    expect(['failed', 'canceled']).toContain(told?.status)
    expect(told?.failure_reason).toMatch(/^\S.{0,199}$/)
    expect(told?.paid_at).toBeUndefined()
  })

  if (objects.withUnknownStatus) checkUnknownStatus(objects.withUnknownStatus, lab)
  checkEchoes(lab)
}

/** The vendor's id of a payment that is not there. */
export function unknownId(objects: VendorObjects): string {
  return objects.unknown_id ?? '00000000-0000-4000-8000-000000000000'
}

/** What the core would ask about a payment after this answer. */
export function referenceOf<P extends object>(payment: P, created: { external_id?: string }) {
  return created.external_id === undefined ? payment : { ...payment, external_id: created.external_id }
}

/** The same settings with the proxy in the vendor's place. */
export async function behindProxy<Config, T>(
  { gateway, stand, vendor_url }: VendorLab<Config>,
  change: Parameters<typeof startProxy>[1],
  use: (config: Config) => Promise<T>,
): Promise<T> {
  const proxy = await startProxy(vendor_url, change)
  try {
    const settings: unknown = JSON.parse(JSON.stringify(stand.settings).replaceAll(vendor_url, proxy.url))
    return await use(gateway.configSchema.parse(settings))
  } finally {
    await proxy.close()
  }
}

function checkUnknownStatus<Config>(rewrite: (answer: string) => string, lab: () => VendorLab<Config>): void {
  it('takes a status it does not know for pending, never for success', async () => {
    const { gateway, context, newPayment, vendor } = lab()
    const payment = newPayment()
    let rewritten = 0
    const change = (answer: ProxiedAnswer) => {
      const body = rewrite(answer.body)
      if (body !== answer.body) rewritten += 1
      return { ...answer, body }
    }
    await behindProxy(lab(), change, async (config) => {
      const created = await lab().create(payment, { config })
      expect(created.status).toBe('pending')
      await vendor.complete(created.external_id ?? '', 'succeeded')
      const told = await gateway.getPayment(config, referenceOf(payment, created), context)
      expect(told).toMatchObject({ status: 'pending' })
      expect(told?.paid_at).toBeUndefined()
    })
    expect(rewritten).toBeGreaterThanOrEqual(2)
  })
}

function checkEchoes<Config>(lab: () => VendorLab<Config>): void {
  it.each([400, 401, 403, 404, 422, 500, 200])(
    'tells no secret when the vendor answers %i and quotes the request back',
    async (status) => {
      const { newPayment, gateway, context } = lab()
      const payment = newPayment()
      const secrets = [...lab().secrets]
      const change = (_answer: ProxiedAnswer, request: { headers: Readonly<Record<string, string>> }) => {
        const { authorization } = request.headers
        if (authorization !== undefined) secrets.push(authorization.replace(/^\w+ /, ''))
        const body = quotingError(`${Object.values(request.headers).join(' ')} ${secrets.join(' ')}`)
        return { status, content_type: 'application/json', body }
      }
      await behindProxy(lab(), change, async (config) => {
        const created = await outcomeOf(lab().create(payment, { config }))
        expectNoSecret(created, secrets)
        expect(created.value?.status ?? 'thrown').toMatch(/^(?:failed|thrown)$/)
        expectNoSecret(await outcomeOf(gateway.getPayment(config, payment, context)), secrets)
        if (gateway.checkHealth)
          expectNoSecret(await outcomeOf(gateway.checkHealth(config, context)), secrets)
      })
    },
  )
}

/** An error in the forms vendors use, each of which quotes the text. */
function quotingError(text: string): string {
  const words = {
    code: 'invalid_request',
    message: text,
    description: text,
    detail: text,
    name: 'invalid_request',
  }
  return JSON.stringify({ type: 'error', ...words, parameter: text.slice(0, 100), error: words })
}
