import { expect, it } from 'vitest'
import type { PublishedRequests } from './fixture.ts'
import type { VendorLab } from './payment-checks.ts'

/**
 * Runs last: whatever the other checks made the gateway ask its vendor for is an operation of the vendor's
 * published description and fits it.
 */
export function checkPublished<Config>(
  published: PublishedRequests | undefined,
  lab: () => VendorLab<Config>,
): void {
  it('are operations the vendor publishes, and fit what it publishes of them', async () => {
    const requests = (await lab().vendor.requests()).filter(
      // Pages are a person's; what a fault cut off or a wrong key kept out came to nothing.
      ({ is_page, fault, status }) =>
        is_page !== true && fault === undefined && status !== 401 && status !== 403,
    )
    const operations = new Set(requests.flatMap(({ operation }) => operation ?? []))
    expect([...operations].toSorted()).toEqual([...(published?.operations ?? [])].toSorted())
    if (!published) return
    const others = requests.filter(({ operation }) => operation === undefined)
    const unchecked = new Set(others.map(({ method, path }) => `${method} ${path.split('?', 1)[0]}`))
    expect([...unchecked].toSorted()).toEqual(Object.keys(published.unpublished ?? {}).toSorted())
  })
}
