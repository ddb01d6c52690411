import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'

/** Runs a query whose rows are sentences, each naming the row that is wrong. */
export async function sentences(
  sql: Sql,
  query: ReturnType<typeof raw<{ detail: string }>>,
): Promise<string[]> {
  const { rows } = await query.execute(sql)
  return rows.map((row) => row.detail)
}

/** I04: numbers of a wallet's transfers run from 1 to its sequence. */
export function sequenceGaps(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('wallet %s (%s %s): transfer %s is followed by %s', w.id, w.customer_id, w.unit, t.before,
      t.sequence)
      as detail
    from (
      select wallet_id, sequence, lag(sequence, 1, 0::bigint) over (partition by wallet_id
        order by sequence) as before
      from ledger.transfers) t
    join ledger.wallets w on w.id = t.wallet_id
    where t.sequence <> t.before + 1
    union all
    select format('wallet %s (%s %s): its sequence is %s, its last transfer is %s', w.id, w.customer_id,
      w.unit,
      w.sequence, coalesce(t.last, 0))
    from ledger.wallets w
    left join (select wallet_id, max(sequence) as last from ledger.transfers group by wallet_id) t
      on t.wallet_id = w.id
    where w.sequence <> coalesce(t.last, 0)
    union all
    select format('transfer %s of wallet %s: there is no such wallet', t.sequence, t.wallet_id)
    from ledger.transfers t
    where not exists (select 1 from ledger.wallets w where w.id = t.wallet_id)
    limit ${limit}`,
  )
}

/**
 * I06: each transfer's hash follows from the one before and from what the row says; the wallet knows the
 * last.
 */
export function brokenChains(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('transfer %s of wallet %s: its hash does not fit what it says or what was before it',
      t.sequence,
      t.wallet_id) as detail
    from (
      select x.*, lag(x.hash, 1, decode(repeat('00', 32), 'hex')) over (partition by x.wallet_id
        order by x.sequence)
        as hash_before
      from ledger.transfers x) t
    where t.hash <> ledger.link_hash(t.hash_before, ledger.canonical_transfer(
      t.wallet_id, t.sequence, t.kind, t.amount, t.balance_after, t.held_after, t.grant_ids, t.grant_amounts,
      t.key_digest, t.input_digest, t.actor_id, t.reason, t.reference, t.metadata, t.hold_id,
        t.related_wallet_id,
      t.related_sequence, t.created_at))
    union all
    select format('wallet %s (%s %s): its hash is not that of its last transfer', w.id, w.customer_id, w.unit)
    from ledger.wallets w
    left join ledger.transfers t on t.wallet_id = w.id and t.sequence = w.sequence
    where w.chain_hash <> coalesce(t.hash, decode(repeat('00', 32), 'hex'))
    limit ${limit}`,
  )
}

/** Kinds are known, slices are arrays of one length, positive, and add up to the amount. */
export function malformedTransfers(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('transfer %s of wallet %s: a %s of %s with slices %s of grants %s', t.sequence,
      t.wallet_id, t.kind,
      t.amount, t.grant_amounts, t.grant_ids) as detail
    from ledger.transfers t
    left join ledger.transfer_kinds k on k.kind = t.kind
    cross join lateral (
      select coalesce(sum(s.amount), 0) as total, coalesce(bool_and(s.amount > 0), true) as is_positive
      from unnest(t.grant_amounts) s (amount)) s
    where k.kind is null
      or cardinality(t.grant_ids) <> cardinality(t.grant_amounts)
      or not s.is_positive
      or s.total <> case
        when k.grant_remaining = 0 and k.grant_held = 0 and t.kind <> 'grant_start' then 0 else t.amount end
      or k.is_opening and t.grant_ids <> array[t.sequence]
    limit ${limit}`,
  )
}

/** I02: the figures of a wallet are the sums of its transfers, by the signs of their kinds. */
export function walletsAgainstTransfers(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format(
        'wallet %s (%s %s): it says balance %s, held %s, scheduled %s, debt %s; its transfers %s, %s, %s, %s',
      w.id, w.customer_id, w.unit, w.balance, w.held, w.scheduled, w.debt, t.balance, t.held, t.scheduled,
        t.debt)
      as detail
    from ledger.wallets w
    cross join lateral (
      select coalesce(sum(x.amount * k.wallet_balance), 0) as balance,
        coalesce(sum(x.amount * k.wallet_held), 0) as held,
        coalesce(sum(x.amount * k.wallet_scheduled), 0) as scheduled,
          coalesce(sum(x.amount * k.wallet_debt), 0) as debt
      from ledger.transfers x
      join ledger.transfer_kinds k on k.kind = x.kind
      where x.wallet_id = w.id) t
    where (w.balance, w.held, w.scheduled, w.debt) <> (t.balance, t.held, t.scheduled, t.debt)
    limit ${limit}`,
  )
}

/** I01 and I03: every transfer's balance and held follow from those before it. */
export function brokenBalances(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format(
        'transfer %s of wallet %s: it says balance %s and held %s after it, those up to it say %s and %s',
      t.sequence, t.wallet_id, t.balance_after, t.held_after, t.balance, t.held) as detail
    from (
      select x.wallet_id, x.sequence, x.balance_after, x.held_after,
        sum(x.amount * k.wallet_balance) over so_far as balance,
          sum(x.amount * k.wallet_held) over so_far as held
      from ledger.transfers x
      join ledger.transfer_kinds k on k.kind = x.kind
      window so_far as (partition by x.wallet_id order by x.sequence)) t
    where t.balance_after <> t.balance or t.held_after <> t.held
    limit ${limit}`,
  )
}

/** The account a wallet's figures stand for: entries of `wallet` and `held` are the balance, and so on. */
export function accountsAgainstWallets(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('wallet %s (%s %s): its books hold %s in %s, it says %s', w.id, w.customer_id, w.unit,
      e.amount,
      e.account, e.says) as detail
    from ledger.wallets w
    cross join lateral (
      select a.account, a.says, coalesce((
        select sum(x.amount) from ledger.entries x where x.wallet_id = w.id and x.account = a.account),
          0) as amount
      from (values ('wallet', w.balance - w.held), ('held', w.held), ('scheduled', w.scheduled), ('debt',
        -w.debt))
        a (account, says)) e
    where e.amount <> e.says
    limit ${limit}`,
  )
}

/** What leaves one wallet for another arrives: the account between them is empty in every unit. */
export function transfersUnderWay(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('unit %s: %s left wallets for others and did not arrive', w.unit, sum(e.amount)) as detail
    from ledger.entries e
    join ledger.wallets w on w.id = e.wallet_id
    where e.account = 'transferred'
    group by w.unit
    having sum(e.amount) <> 0
    limit ${limit}`,
  )
}
