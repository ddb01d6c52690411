import { z } from 'zod'
import {
  amount,
  amountOrZero,
  customerKey,
  metadata,
  pageOf,
  pageQuery,
  shortText,
  signedAmount,
  timestamp,
  unitCode,
} from '#http/wire'
import { slice } from './schemas.ts'
import { TRANSFER_KINDS, type Account, type TransferKind } from './transfer-kinds.ts'
import type { Transfer } from './transfers.ts'

export const hold = z
  .object({
    id: z.string(),
    customer_id: z.string(),
    unit: unitCode,
    amount,
    captured: amountOrZero.describe('How much was used up; 0 unless captured.'),
    status: z.enum(['placed', 'captured', 'released', 'expired']),
    is_late: z.boolean().describe('Captured after its time was over, from what the wallet had then.'),
    spend_id: z.string().nullable(),
    slices: z.array(slice),
    reason: z.string().nullable(),
    reference: z.string().nullable(),
    expires_at: timestamp,
    created_at: timestamp,
    closed_at: timestamp.nullable(),
  })
  .meta({ id: 'Hold' })
export const newHold = z.strictObject({
  customer_id: customerKey,
  unit: unitCode,
  amount,
  ttl_seconds: z.int().min(1).max(86_400).default(900),
  reason: shortText.optional(),
  reference: shortText.optional(),
  metadata: metadata.optional(),
})
export const capture = z.strictObject({ amount: amount.optional().describe('Default: all of it.') })

export const newReversal = z.strictObject({
  amount: amount.optional().describe('Default: all that was not given back before.'),
  reason: shortText.optional(),
  reference: shortText.optional(),
})
export const reversal = z
  .object({
    id: z.string(),
    spend_id: z.string(),
    customer_id: z.string(),
    unit: unitCode,
    amount,
    balance: amountOrZero,
    sequence: amount,
    slices: z.array(slice),
    reason: z.string().nullable(),
    created_at: timestamp,
  })
  .meta({ id: 'Reversal' })

export const newAdjustment = z.strictObject({
  unit: unitCode,
  amount: signedAmount.describe('Above zero adds, below zero takes. Not zero.'),
  reason: shortText,
  expires_at: timestamp.nullable().optional(),
  reference: shortText.optional(),
  metadata: metadata.optional(),
})
export const adjustment = reversal
  .omit({ spend_id: true, amount: true })
  .extend({ amount: signedAmount })
  .meta({ id: 'Adjustment' })

export const newGift = z.strictObject({
  from_customer_id: customerKey,
  to_customer_id: customerKey,
  unit: unitCode,
  amount,
  reason: shortText.optional(),
  reference: shortText.optional(),
  metadata: metadata.optional(),
})
export const gift = z
  .object({
    id: z.string(),
    from_customer_id: z.string(),
    to_customer_id: z.string(),
    unit: unitCode,
    amount,
    balance: amountOrZero.describe('Of the giver, right after it.'),
    slices: z.array(slice),
    grants: z.array(slice).describe('What it became: the same priority, expiry and age.'),
    reason: z.string().nullable(),
    created_at: timestamp,
  })
  .meta({ id: 'CustomerTransfer' })

const kinds = Object.keys(TRANSFER_KINDS) as [TransferKind, ...TransferKind[]]
const accounts = [...new Set(Object.values(TRANSFER_KINDS).flat())] as [Account, ...Account[]]
export const transfer = z
  .object({
    id: z.string(),
    unit: unitCode,
    kind: z.enum(kinds),
    from: z.enum(accounts),
    to: z.enum(accounts),
    amount,
    balance: amountOrZero.describe('Of the wallet right after it, held units included.'),
    held: amountOrZero,
    sequence: amount,
    slices: z.array(slice),
    actor_id: z.string().nullable(),
    reason: z.string().nullable(),
    reference: z.string().nullable(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    hold_id: z.string().nullable(),
    related_id: z.string().nullable().describe('The transfer it undoes, follows from or answers.'),
    created_at: timestamp,
  })
  .meta({ id: 'Transfer' })
export const transferPage = pageOf(transfer)
export const transferFilter = pageQuery.extend({ unit: unitCode.optional() })

/** A transfer is shown as it is; the names agree. */
export function transferWire(row: Transfer): z.output<typeof transfer> {
  return row
}

export const newMerge = z.strictObject({ into_customer_id: customerKey })
export const merged = z.object({
  customer_id: z.string().describe('The survivor.'),
  wallets: z.array(z.object({ unit: unitCode })),
})
