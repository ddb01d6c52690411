import { sql as raw } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Tx } from '#kernel/db'
import { keyed, openBooks, type Books } from './ledger.fixtures/books.ts'
import {
  captureHold,
  ledgerInvariants,
  mergeWallets,
  placeHold,
  reverseSpend,
  revokeGrant,
  sweepExpiries,
  transferUnits,
} from './index.ts'
import { TRANSFER_KINDS } from './transfer-kinds.ts'

const DAY = 86_400_000

let books: Books
beforeAll(async () => {
  books = await openBooks()
  await fillBooks()
})
afterAll(() => books.close())

/**
 * Books with something of every kind; cus_1 has wallet 1 with grants 1 (used), 2 (ends), 3 (starts later).
 */
async function fillBooks(): Promise<void> {
  const { clock } = books
  await books.give('cus_1', 100n, { source_id: 'one' })
  await books.give('cus_1', 50n, {
    source_id: 'two',
    expires_at: new Date(clock.now_ms() + 10 * DAY),
    priority: 90,
  })
  await books.give('cus_1', 30n, { source_id: 'three', starts_at: new Date(clock.now_ms() + 20 * DAY) })
  const spent = await books.spend('cus_1', 10n)
  await books.write((tx) => reverseSpend(tx, clock, { spend_id: spent.id, amount: 4n, ...keyed() }))
  const hold = (): ReturnType<typeof placeHold> =>
    books.write((tx) =>
      placeHold(tx, clock, {
        customer_id: 'cus_1',
        unit: 'minute',
        amount: 20n,
        ttl_seconds: 3600,
        ...keyed(),
      }),
    )
  const captured = await hold()
  await books.write((tx) => captureHold(tx, clock, { hold_id: captured.id, amount: 15n, ...keyed() }))
  await hold()
  await books.write((tx) =>
    transferUnits(tx, clock, {
      from_customer_id: 'cus_1',
      to_customer_id: 'cus_2',
      unit: 'minute',
      amount: 5n,
      ...keyed(),
    }),
  )
  const refunded = await books.give('cus_2', 40n, { source_id: 'four' })
  await books.write((tx) => revokeGrant(tx, clock, { grant_id: refunded, reason: 'refund', ...keyed() }))
  await books.give('cus_3', 7n, { source_id: 'five' })
  await books.write((tx) => mergeWallets(tx, clock, { from_customer_id: 'cus_3', to_customer_id: 'cus_2' }))
  await books.give('cus_4', 9n, { source_id: 'six', expires_at: new Date(clock.now_ms() + 1000) })
  clock.advance(2000)
  await sweepExpiries(books)
}

class Undone extends Error {}

/** Runs statements past every guard and answers what verification says then; nothing of it stays. */
async function findingsAfter(statements: readonly string[]): Promise<string[]> {
  const found: string[] = []
  const work = async (tx: Tx): Promise<void> => {
    const unguarded = [
      'grant update, delete on ledger.transfers to current_user',
      'alter table ledger.transfers disable trigger user',
      'alter table ledger.grants disable trigger user',
      'alter table ledger.grants drop constraint grants_amounts',
      'alter table ledger.wallets drop constraint wallets_amounts',
      'drop index ledger.transfers_key',
    ]
    for (const statement of [...unguarded, ...statements]) await raw.raw(statement).execute(tx)
    for (const { name, find } of ledgerInvariants) {
      const details = await find(tx, 10, books.clock.now())
      found.push(...details.map((detail) => `${name}: ${detail}`))
    }
    throw new Undone()
  }
  await books.write(work).catch((error: unknown) => {
    if (!(error instanceof Undone)) throw error
  })
  return found
}

test('books with something of every kind are clean', async () => {
  expect(await books.findings()).toEqual([])
  expect(await findingsAfter([])).toEqual([])
})

const transfer = (sequence: number, change: string): string =>
  `update ledger.transfers set ${change} where wallet_id = 1 and sequence = ${sequence}`

/** What is done to the books, the invariant that must notice, and what it must say. */
const CORRUPTIONS: [what: string, statements: string[], invariant: string, detail: string][] = [
  [
    'a transfer is deleted',
    ['delete from ledger.transfers where wallet_id = 1 and sequence = 4'],
    'sequence_without_gaps',
    'wallet 1 (cus_1 minute): transfer 3 is followed by 5',
  ],
  [
    'the last transfer is deleted',
    [
      `delete from ledger.transfers where wallet_id = 1
        and sequence = (select max(sequence) from ledger.transfers where wallet_id = 1)`,
    ],
    'sequence_without_gaps',
    'wallet 1 (cus_1 minute): its sequence is',
  ],
  [
    'a transfer of no wallet is added',
    [
      `insert into ledger.transfers (wallet_id, sequence, amount, balance_after, held_after, created_at,
        kind, grant_ids,
      grant_amounts, hash) values (999, 1, 1, 1, 0, now(), 'grant', '{1}', '{1}', '')`,
    ],
    'sequence_without_gaps',
    'transfer 1 of wallet 999: there is no such wallet',
  ],
  ['an amount is changed', [transfer(4, 'amount = 9')], 'hash_chain_intact', 'transfer 4 of wallet 1'],
  ['a reason is changed', [transfer(4, `reason = 'other'`)], 'hash_chain_intact', 'transfer 4 of wallet 1'],
  [
    'an actor is changed',
    [transfer(4, `actor_id = 'key_other'`)],
    'hash_chain_intact',
    'transfer 4 of wallet 1',
  ],
  [
    'a key is changed',
    [transfer(4, `key_digest = decode(repeat('ab', 16), 'hex')`)],
    'hash_chain_intact',
    'transfer 4 of wallet 1',
  ],
  [
    'a moment is changed',
    [transfer(4, `created_at = created_at + interval '1 microsecond'`)],
    'hash_chain_intact',
    'transfer 4 of wallet 1',
  ],
  [
    'a hash is made to fit its row alone',
    [
      transfer(4, 'amount = 9, grant_amounts = array[9::bigint]'),
      `update ledger.transfers t set hash = ledger.link_hash((
       select x.hash from ledger.transfers x where x.wallet_id = 1 and x.sequence = 3),
         ledger.canonical_transfer(
       t.wallet_id, t.sequence, t.kind, t.amount, t.balance_after, t.held_after, t.grant_ids,
         t.grant_amounts, t.key_digest,
       t.input_digest, t.actor_id, t.reason, t.reference, t.metadata, t.hold_id, t.related_wallet_id,
         t.related_sequence,
       t.created_at)) where wallet_id = 1 and sequence = 4`,
    ],
    'hash_chain_intact',
    'transfer 5 of wallet 1',
  ],
  [
    'the wallet forgets the last hash',
    [`update ledger.wallets set chain_hash = decode(repeat('01', 32), 'hex') where id = 1`],
    'hash_chain_intact',
    'wallet 1 (cus_1 minute)',
  ],
  [
    'a kind is made up',
    [transfer(4, `kind = 'present'`)],
    'transfers_well_formed',
    'transfer 4 of wallet 1: a present',
  ],
  [
    'slices do not add up',
    [transfer(4, 'grant_amounts = array[3::bigint]')],
    'transfers_well_formed',
    'transfer 4 of wallet 1: a spend of 10 with slices {3}',
  ],
  [
    'slices lose a grant',
    [transfer(4, `grant_ids = '{}'`)],
    'transfers_well_formed',
    'transfer 4 of wallet 1',
  ],
  [
    'a balance in the middle is changed',
    [transfer(4, 'balance_after = balance_after + 1')],
    'balances_follow_each_other',
    'transfer 4 of wallet 1',
  ],
  [
    'a held amount in the middle is changed',
    [transfer(6, 'held_after = held_after - 1')],
    'balances_follow_each_other',
    'transfer 6 of wallet 1',
  ],
  [
    'a wallet is given units',
    ['update ledger.wallets set balance = balance + 1 where id = 1'],
    'wallet_is_sum_of_transfers',
    'wallet 1 (cus_1 minute): it says balance',
  ],
  [
    'a debt is forgotten',
    ['update ledger.wallets set debt = 5 where id = 1'],
    'wallet_is_sum_of_transfers',
    'wallet 1',
  ],
  [
    'a wallet’s books do not fit',
    ['update ledger.wallets set scheduled = 31 where id = 1'],
    'books_balance',
    'wallet 1 (cus_1 minute): its books hold 30 in scheduled, it says 31',
  ],
  [
    'a gift does not arrive',
    [`delete from ledger.transfers where wallet_id = 2 and sequence = 1`],
    'nothing_lost_between_wallets',
    'unit minute: 5 left wallets for others',
  ],
  [
    'a grant is given units',
    ['update ledger.grants set remaining = remaining + 1 where wallet_id = 1 and id = 1'],
    'grant_is_sum_of_transfers',
    'grant 1 of wallet 1',
  ],
  [
    'a transfer names a grant that is not there',
    [transfer(4, 'grant_ids = array[77::bigint]')],
    'grant_is_sum_of_transfers',
    'transfer 4 of wallet 1: it names grant 77',
  ],
  [
    'a grant says it was larger',
    ['update ledger.grants set granted = 101 where wallet_id = 1 and id = 1'],
    'grant_made_by_its_transfer',
    'grant 1 of wallet 1: it says 101 were granted, transfer 1 says grant of 100',
  ],
  [
    'a grant is made without a transfer',
    [
      `insert into ledger.grants (wallet_id, id, granted, remaining, starts_at, created_at, priority,
        is_paid, is_open, source, source_id)
     values (1, 400, 5, 5, now(), now(), 1, false, true, 'manual', 'forged')`,
    ],
    'grant_made_by_its_transfer',
    'grant 400 of wallet 1: it says 5 were granted, transfer 400 says nothing',
  ],
  [
    'a grant is deleted',
    [`delete from ledger.grants where source_id = 'two'`],
    'wallet_is_sum_of_grants',
    'wallet 1',
  ],
  [
    'more is held than is there',
    ['update ledger.grants set held = remaining + 1 where wallet_id = 1 and id = 2'],
    'amounts_in_bounds',
    'grant 2 of wallet 1',
  ],
  [
    'an empty grant is open',
    [`update ledger.grants set is_open = true where source_id = 'six'`],
    'amounts_in_bounds',
    'grant 1 of wallet 5: granted 9, remaining 0',
  ],
  [
    'an overdraft',
    ['update ledger.wallets set balance = -1, held = 0 where id = 1'],
    'amounts_in_bounds',
    'wallet 1',
  ],
  [
    'the next expiry is forgotten',
    [`update ledger.wallets set next_expiry = 'infinity' where id = 1`],
    'next_expiry_not_late',
    'wallet 1 (cus_1 minute): it looks at time again at infinity, grant 2 changes',
  ],
  [
    'a grant’s end is set back before a use of it',
    [
      `update ledger.grants set expires_at = starts_at + interval '1 second' where wallet_id = 1 and id = 1`,
      transfer(4, `created_at = created_at + interval '2 seconds'`),
    ],
    'nothing_used_after_expiry',
    'transfer 4 of wallet 1: a spend',
  ],
  [
    'expiries are not booked',
    [`update ledger.wallets set next_expiry = next_expiry - interval '30 days' where id = 1`],
    'expiries_are_booked',
    'wallet 1 (cus_1 minute): something was due',
  ],
  [
    'a key is used twice',
    [
      transfer(
        5,
        'key_digest = (select key_digest from ledger.transfers where wallet_id = 1 and sequence = 4)',
      ),
    ],
    'one_transfer_for_each_key',
    'wallet 1: transfers {4,5} have one key',
  ],
  [
    'more is given back than was spent',
    [transfer(5, 'amount = 11, grant_amounts = array[11::bigint]')],
    'reversals_within_spends',
    'transfer 4 of wallet 1: 11 of grant 1 were given back of 10 taken',
  ],
  [
    'a reversal is of something else',
    [transfer(5, 'related_sequence = 1')],
    'reversals_within_spends',
    'were given back of 0 taken',
  ],
  [
    'a hold is forgotten',
    [`delete from ledger.holds where status = 'placed'`],
    'held_is_sum_of_holds',
    'grant 1 of wallet 1',
  ],
  [
    'a hold says it captured less',
    [`update ledger.holds set captured = 14 where status = 'captured'`],
    'holds_fit_their_transfers',
    'it is captured with 14 of 20 captured, its transfers say 15',
  ],
  [
    'a captured hold is deleted',
    [`delete from ledger.holds where status = 'captured'`],
    'holds_fit_their_transfers',
    'it is not there with',
  ],
  [
    'a hold never ends',
    [`update ledger.holds set expires_at = expires_at - interval '30 days' where status = 'placed'`],
    'holds_end_in_time',
    'it should have ended',
  ],
  ['a revocation is forgotten', ['delete from ledger.revocations'], 'revoked_is_sum_of_revocations', 'grant'],
  [
    'a merged wallet keeps units',
    [`update ledger.wallets set merged_into = 2 where id = 1`],
    'merged_wallets_are_empty',
    'wallet 1 (cus_1 minute): it was merged into wallet 2',
  ],
]

test.each(CORRUPTIONS)('%s: verification names the row', async (_what, statements, invariant, detail) => {
  const found = await findingsAfter(statements)
  expect(found.filter((one) => one.startsWith(`${invariant}: `)).join('\n')).toContain(detail)
})

test('every invariant is seen to notice something', () => {
  const seen = new Set(CORRUPTIONS.map(([, , invariant]) => invariant))
  expect(ledgerInvariants.map(({ name }) => name).filter((name) => !seen.has(name))).toEqual([])
})

test('the owner of the database cannot change, delete or truncate transfers', async () => {
  for (const statement of [
    'update ledger.transfers set amount = amount',
    'delete from ledger.transfers',
    'truncate ledger.transfers',
  ]) {
    await expect(books.run(statement)).rejects.toMatchObject({ code: '42501' })
  }
})

test('even with the rights the trigger refuses', async () => {
  await books
    .write(async (tx) => {
      await raw.raw('grant update, delete, truncate on ledger.transfers to current_user').execute(tx)
      await expect(raw.raw('delete from ledger.transfers').execute(tx)).rejects.toMatchObject({
        code: 'LE001',
      })
      throw new Undone()
    })
    .catch((error: unknown) => {
      if (!(error instanceof Undone)) throw error
    })
})

test('the kinds in the code are those of the database', async () => {
  const rows = await books.run(
    'select kind, from_account, to_account from ledger.transfer_kinds order by kind',
  )
  const kinds = Object.entries(TRANSFER_KINDS).map(([kind, [from_account, to_account]]) => ({
    kind,
    from_account,
    to_account,
  }))
  expect(rows).toEqual(kinds.toSorted((a, b) => (a.kind < b.kind ? -1 : 1)))
})

test('each kind moves units by its signs as between its accounts', async () => {
  const rows = await books.run('select * from ledger.transfer_kinds')
  for (const row of rows) {
    const side = (account: string): number =>
      Number(row['to_account'] === account) - Number(row['from_account'] === account)
    expect(row, String(row['kind'])).toMatchObject({
      wallet_balance: side('wallet') + side('held'),
      wallet_held: side('held'),
      wallet_scheduled: side('scheduled'),
      wallet_debt: side('debt') === 0 ? 0 : -side('debt'),
      grant_held: side('held'),
    })
    // `-0` and `0` are one number to the books.
    const grant_side = side('wallet') + side('held') + side('scheduled')
    expect(Number(row['grant_remaining']) + 0, String(row['kind'])).toBe(
      String(row['kind']).startsWith('debt') && row['kind'] !== 'debt_repayment' ? 0 : grant_side,
    )
  }
})
