import type { VendorFact, VendorObjects } from './fixture.ts'

/** The switches every emulator has; a number from 1 is "the next so many". */
export type VendorFault =
  | 'timeout_before_charge'
  | 'timeout_after_charge'
  | 'error_500'
  | 'error_429'
  | 'html_body'

/** An emulator's control API over HTTP: what a check may ask and tell the vendor. */
export interface VendorControl {
  paymentsOf: (payment_id: string) => Promise<VendorFact[]>
  refundsOf: (refund_id: string) => Promise<VendorFact[]>
  /** The buyer pays, or the vendor declines. */
  complete(
    external_id: string,
    outcome: 'succeeded' | 'canceled' | 'authorized',
    reason?: string,
  ): Promise<void>
  fault: (fault: VendorFault, count: number, scope?: 'operations' | 'reads') => Promise<void>
  clearFaults: () => Promise<void>
  advanceClock: (milliseconds: number) => Promise<void>
  /** Every request the vendor remembers, oldest first. */
  requests: () => Promise<VendorRequest[]>
}

/** A line of the emulator's log. */
export interface VendorRequest {
  method: string
  path: string
  status?: number
  fault?: string
  /** What it was in the vendor's published description, which it was found to fit. */
  operation?: string
  is_page?: boolean
}

/** Speaks to the emulator at this address. Every call throws when the emulator does not answer 200. */
export function controlVendor(vendor_url: string, objects: VendorObjects): VendorControl {
  const ask = async (method: string, path: string, body?: object): Promise<unknown> => {
    const response = await fetch(`${vendor_url}/_emulator${path}`, {
      method,
      ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
    })
    if (response.status !== 200)
      throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
    return response.json()
  }
  const list = async (kind: {
    collection: string
    read: (object: Record<string, unknown>) => VendorFact
  }) => {
    const facts: VendorFact[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const query: string = `?collection=${kind.collection}&limit=1000${cursor && `&cursor=${cursor}`}`
      const page = (await ask('GET', `/objects${query}`)) as {
        items: Record<string, unknown>[]
        next_cursor: string | null
      }
      facts.push(...page.items.map((item) => kind.read(item)))
      cursor = page.next_cursor
    }
    return facts
  }
  return {
    paymentsOf: async (payment_id) =>
      (await list(objects.payments)).filter((fact) => fact.our_id === payment_id),
    refundsOf: async (refund_id) =>
      objects.refunds ? (await list(objects.refunds)).filter((fact) => fact.our_id === refund_id) : [],
    complete: async (external_id, outcome, reason) => {
      const body = { outcome, ...(reason === undefined ? {} : { reason }) }
      await ask('POST', `/payments/${encodeURIComponent(external_id)}/complete`, body)
    },
    fault: async (fault, count, scope = 'operations') => {
      await ask('PUT', '/faults', { [fault]: count, scope })
    },
    clearFaults: async () => {
      const off = {
        timeout_before_charge: 0,
        timeout_after_charge: 0,
        error_500: 0,
        error_429: 0,
        html_body: 0,
      }
      await ask('PUT', '/faults', { ...off, scope: 'operations' })
    },
    advanceClock: async (milliseconds) => {
      await ask('POST', '/clock', { advance_ms: milliseconds })
    },
    requests: async () => {
      const found: VendorRequest[] = []
      let cursor: string | null = ''
      while (cursor !== null) {
        const query: string = `?kind=request&limit=1000${cursor && `&cursor=${cursor}`}`
        const page = (await ask('GET', `/log${query}`)) as {
          items: VendorRequest[]
          next_cursor: string | null
        }
        found.push(...page.items)
        cursor = page.next_cursor
      }
      return found
    },
  }
}
