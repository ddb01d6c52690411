import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkFaults } from './gateway-contract/fault-checks.ts'
import type { GatewayFixture, Lab, VendorObjects } from './gateway-contract/fixture.ts'
import { openLab } from './gateway-contract/lab.ts'
import { checkPublished } from './gateway-contract/published-checks.ts'
import { checkPayments } from './gateway-contract/payment-checks.ts'
import type { VendorLab } from './gateway-contract/payment-checks.ts'
import { checkRefunds } from './gateway-contract/refund-checks.ts'
import { checkSettings } from './gateway-contract/settings-checks.ts'
import { checkWebhooks } from './gateway-contract/webhook-checks.ts'

export type { GatewayFixture, VendorFact } from './gateway-contract/fixture.ts'
export { createInput, newContext, newId } from './gateway-contract/lab.ts'
export { outcomeOf } from './gateway-contract/leaks.ts'

/**
 * The contract every gateway keeps, whoever its vendor is. A gateway's own test calls this once with what it
 * knows of its vendor; facts are read from the vendor's emulator over HTTP, never from the gateway itself.
 */
export function describeGateway<Config>(fixture: GatewayFixture<Config>): void {
  if (fixture.trust === 'signed' && !fixture.proof) {
    throw new Error('a gateway that signs shows where the signature stands, so that it can be spoiled')
  }
  if (fixture.trust === 'signed' && !fixture.resign && fixture.undated === undefined) {
    throw new Error('a gateway that signs shows how a notification of another moment is signed, or why not')
  }
  describe(`the gateway contract: ${fixture.gateway.id}`, () => {
    let opened: (Lab<Config> & { close(): Promise<void> }) | undefined
    beforeAll(async () => {
      opened = await openLab(fixture)
    })
    afterAll(() => opened?.close())
    const lab = (): Lab<Config> => {
      if (!opened) throw new Error('the lab is open only while its checks run')
      return opened
    }
    const vendorLab = (): VendorLab<Config> => {
      const { vendor, stand } = lab()
      if (!vendor || stand.vendor_url === undefined) throw new Error('objects without a vendor')
      return { ...lab(), vendor, vendor_url: stand.vendor_url }
    }
    const { objects } = fixture
    describe('settings', () => {
      checkSettings(fixture, lab)
    })
    describe('notifications', () => {
      checkWebhooks(fixture, lab)
    })
    if (!objects) return
    describe('payments', () => {
      checkPayments(fixture, objects, vendorLab)
    })
    describe('a vendor in trouble', () => {
      checkFaults(objects, vendorLab)
    })
    describeRefunds(fixture, objects, vendorLab)
    describe('the requests of all this', () => {
      checkPublished(fixture.published, vendorLab)
    })
  })
}

function describeRefunds<Config>(
  { gateway, refunds_elsewhere }: GatewayFixture<Config>,
  objects: VendorObjects,
  vendorLab: () => VendorLab<Config>,
): void {
  if (!gateway.refund || refunds_elsewhere !== undefined) return
  describe('refunds', () => {
    it('are shown by its test as the vendor has them: `objects.refunds`', () => {
      expect(objects.refunds).toBeDefined()
    })
    if (objects.refunds) checkRefunds(gateway, objects, vendorLab)
  })
}
