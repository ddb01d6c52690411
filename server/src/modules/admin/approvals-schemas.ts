import { z } from 'zod'
import {
  amount,
  amountOrZero,
  customerKey,
  pageOf,
  pageQuery,
  shortText,
  signedAmount,
  timestamp,
  unitCode,
} from '#http/wire'

const kind = z.enum(['adjustment', 'refund'])
const status = z.enum(['pending', 'approved', 'rejected', 'expired'])

export const approval = z
  .object({
    id: z.string(),
    kind,
    status,
    input: z.unknown(),
    amount: signedAmount,
    measure: z.string().describe('A currency or a unit.'),
    resource_id: z.string().describe('Of a refund: its id once it is made.'),
    reason: z.string(),
    requested_by: z.string(),
    requested_at: timestamp,
    expires_at: timestamp,
    decided_by: z.string().nullable(),
    decided_at: timestamp.nullable(),
    decision_note: z.string().nullable(),
    done_at: timestamp.nullable(),
  })
  .meta({ id: 'Approval', description: 'What one person asked for and another has to agree to.' })
export const approvalPage = pageOf(approval)
export const approvalQuery = pageQuery.extend({ status: status.optional() })
export const approvalPath = z.object({ id: z.string().min(1).max(40) })
export const newRefundRequest = z
  .strictObject({ payment_id: z.string().min(1).max(100), amount, reason: shortText })
  .meta({ id: 'NewRefundRequest' })
export const newAdjustmentRequest = z
  .strictObject({ customer_id: customerKey, unit: unitCode, amount: signedAmount, reason: shortText })
  .meta({ id: 'NewAdjustmentRequest' })
export const decision = z.strictObject({ note: shortText.optional() }).meta({ id: 'Decision' })

const limitFacts = { kind, measure: unitCode, amount: amountOrZero.nullable() }
export const approvalLimit = z.object(limitFacts).meta({
  id: 'ApprovalLimit',
  description: 'The largest amount one person may do alone; null is without a limit.',
})
export const approvalLimits = z.object({ items: z.array(approvalLimit) })
export const limitPath = z.object({ kind, measure: unitCode })
export const limitBody = z.strictObject({ amount: amountOrZero.nullable() }).meta({ id: 'ApprovalLimitBody' })
