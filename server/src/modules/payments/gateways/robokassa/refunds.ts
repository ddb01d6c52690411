import {
  GatewayMisconfigured,
  GatewayUnavailable,
  callVendor,
  parseDecimal,
  present,
  readAnswer,
} from '@kopilka/extension'
import type { RefundInput, RefundReference, VendorRefund } from '@kopilka/extension'
import { z } from 'zod'
import { readOperation, wordsOf } from './api.ts'
import type { Shop } from './api.ts'
import { jsonAmount, refundItems } from './receipts.ts'
import { signJwt } from './sign.ts'

/** As long as the core goes on asking about a refund. */
const MEMORY_MS = 8 * 86_400_000
const REQUEST_ID = /^[\w-]{1,64}$/

const RefundAnswer = z.object({
  success: z.boolean(),
  requestId: z.string().regex(REQUEST_ID).nullish(),
  message: z.string().nullish(),
})
const RefundState = z.object({
  requestId: z.string().nullish(),
  amount: z.number().nonnegative().nullish(),
  label: z.string().max(40).nullish(),
  message: z.string().nullish(),
})

/**
 * Asks for a refund once. The vendor has neither an idempotency key nor a search: the core never asks again
 * for what may have been sent, and neither does this process. What failed before it was sent says so.
 */
export function refundOnce(shop: Shop, input: RefundInput): Promise<VendorRefund> {
  const { cache, now } = shop.context
  const key = `refund:${input.refund_id}`
  const expires_at = now.getTime() + MEMORY_MS
  const earlier = attemptOf(shop, input.refund_id)
  if (earlier instanceof Promise) return earlier
  const attempt = { is_sent: false }
  const asked = requestRefund(shop, input, attempt).catch((error: unknown) => {
    // What was never sent may be tried again.
    if (!attempt.is_sent) cache.set(key, { value: 'unsent', expires_at })
    throw attempt.is_sent ? error : asUnsent(error)
  })
  cache.set(key, { value: asked, expires_at })
  return asked
}

function asUnsent(error: unknown): unknown {
  if (!(error instanceof GatewayUnavailable)) return error
  const { reason, was_sent, retry_after_ms } = error
  const facts = { cause: error, was_sent, is_nothing_made: true, ...present({ retry_after_ms }) }
  return new GatewayUnavailable(reason, facts)
}

function attemptOf({ context }: Shop, refund_id: string): Promise<VendorRefund> | 'unsent' | undefined {
  const held = context.cache.get(`refund:${refund_id}`)
  if (!held || held.expires_at <= context.now.getTime()) return undefined
  return held.value as Promise<VendorRefund> | 'unsent'
}

/**
 * What became of a request; `undefined` when this process knows that none was sent. Without the vendor's
 * id there is nothing to ask by: GatewayUnavailable.
 */
export async function readRefund(shop: Shop, reference: RefundReference): Promise<VendorRefund | undefined> {
  const { external_id, refund_id, amount, currency } = reference
  if (external_id === undefined) {
    const attempt = attemptOf(shop, refund_id)
    if (attempt !== undefined) return attempt === 'unsent' ? undefined : attempt
    throw new GatewayUnavailable('an unanswered refund can only be found in the cabinet')
  }
  const own = { external_id, refund_id, amount, currency, ...paymentOf(reference) }
  if (external_id.startsWith('full:')) return { ...own, status: 'succeeded' }
  if (!REQUEST_ID.test(external_id)) return undefined
  const answer = await callVendor({
    method: 'GET',
    url: `${shop.config.services_url}/RefundService/Refund/GetState?id=${external_id}`,
    timeout_ms: shop.context.timeout_ms,
  })
  const state = readAnswer(RefundState, answer.json())
  if (state.label === undefined || state.label === null) {
    if (state.message === undefined || state.message === null)
      throw new GatewayUnavailable('unreadable answer')
    return undefined
  }
  // A number of JSON with two decimals prints as itself.
  const told = typeof state.amount === 'number' ? parseDecimal(String(state.amount), 2) : undefined
  if (state.label === 'canceled') return { ...own, status: 'failed', failure_reason: 'canceled' }
  return { ...own, amount: told ?? amount, status: state.label === 'finished' ? 'succeeded' : 'pending' }
}

async function requestRefund(
  shop: Shop,
  input: RefundInput,
  attempt: { is_sent: boolean },
): Promise<VendorRefund> {
  const { config, context } = shop
  if (config.is_test) return refusedRefund(input, 'test_payments_have_no_refunds')
  if (config.password3 === undefined) throw new GatewayMisconfigured('refunds need password 3')
  const { op_key } = (await readOperation(shop, input.payment)) ?? {}
  if (op_key === undefined) return refusedRefund(input, 'payment_not_found')
  const jwt = signJwt(
    { alg: config.refund_algorithm, typ: 'JWT' },
    {
      OpKey: op_key,
      ...present({
        RefundSum: input.is_full ? undefined : jsonAmount(input.amount),
        InvoiceItems: refundItems(config, input.amount, input.receipt),
      }),
    },
    config.password3,
  )
  const is_json = config.refund_body === 'json'
  attempt.is_sent = true
  const answer = await callVendor({
    method: 'POST',
    url: `${config.services_url}/RefundService/Refund/Create`,
    headers: { 'content-type': is_json ? 'application/json' : 'application/jwt' },
    body: is_json ? JSON.stringify(jwt) : jwt,
    timeout_ms: context.timeout_ms,
  })
  const { success, requestId, message } = readAnswer(RefundAnswer, answer.json())
  if (answer.status === 200 && success) {
    if (typeof requestId !== 'string') throw new GatewayUnavailable('a refund without an id')
    return { ...given(input), external_id: requestId, status: 'pending' }
  }
  if (answer.status === 401 || answer.status === 403) {
    // Nothing was done: the request may be sent again when the owner has acted.
    attempt.is_sent = false
    throw new GatewayMisconfigured(wordsOf(shop, message ?? ''))
  }
  if (message === 'AlreadyRefunded' && input.is_full) {
    return { ...given(input), external_id: `full:${op_key}`, status: 'succeeded' }
  }
  return refusedRefund(input, wordsOf(shop, message ?? ''))
}

function refusedRefund(input: RefundInput, failure_reason: string): VendorRefund {
  return { ...given(input), external_id: `refused:${input.refund_id}`, status: 'failed', failure_reason }
}

function given(input: RefundInput) {
  const { refund_id, amount, currency } = input
  return { refund_id, amount, currency, ...paymentOf(input) }
}

function paymentOf({ payment }: { payment: { payment_id: string; external_id?: string } }) {
  return present({
    payment_id: payment.payment_id === '' ? undefined : payment.payment_id,
    payment_external_id: payment.external_id,
  })
}
