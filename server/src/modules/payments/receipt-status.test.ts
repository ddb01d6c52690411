import { describe, expect, it } from 'vitest'
import { mayMoveReceipt, RECEIPT_STATUSES } from './receipt-status.ts'

describe('the status of a receipt', () => {
  it('moves as the table says, and nothing leaves what the tax office has', () => {
    const moves = RECEIPT_STATUSES.flatMap((from) =>
      RECEIPT_STATUSES.filter((to) => mayMoveReceipt(from, to)).map((to) => `${from} → ${to}`),
    )
    expect(moves).toEqual([
      'pending → unknown',
      'pending → sent',
      'pending → registered',
      'pending → failed',
      'pending → manual',
      'unknown → pending',
      'unknown → sent',
      'unknown → registered',
      'unknown → failed',
      'unknown → manual',
      'sent → registered',
      'sent → failed',
      'sent → manual',
      'failed → pending',
      'failed → registered',
      'manual → pending',
      'manual → unknown',
      'manual → registered',
    ])
  })
})
