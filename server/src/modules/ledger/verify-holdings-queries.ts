import { sql as raw } from 'kysely'
import type { Sql } from '#kernel/db'
import { sentences } from './verify-queries.ts'

/** I08: what is left, held and revoked of a grant are the sums of the slices that touched it. */
export function grantsAgainstTransfers(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format(
        'grant %s of wallet %s: it says remaining %s, held %s, revoked %s; its transfers say %s, %s, %s',
        g.id,
      g.wallet_id, g.remaining, g.held, g.revoked, coalesce(t.remaining, 0), coalesce(t.held, 0),
        coalesce(t.revoked, 0))
      as detail
    from ledger.grants g
    left join (
      select x.wallet_id, s.id, sum(s.amount * k.grant_remaining) as remaining,
        sum(s.amount * k.grant_held) as held,
        sum(s.amount * k.grant_revoked) as revoked
      from ledger.transfers x
      join ledger.transfer_kinds k on k.kind = x.kind
      cross join lateral unnest(x.grant_ids, x.grant_amounts) s (id, amount)
      group by x.wallet_id, s.id) t on t.wallet_id = g.wallet_id and t.id = g.id
    where (g.remaining, g.held, g.revoked)
      <> (coalesce(t.remaining, 0), coalesce(t.held, 0), coalesce(t.revoked, 0))
    union all
    select format('transfer %s of wallet %s: it names grant %s, which is not there', x.sequence,
      x.wallet_id, s.id)
    from ledger.transfers x
    cross join lateral unnest(x.grant_ids) s (id)
    where not exists (select 1 from ledger.grants g where g.wallet_id = x.wallet_id and g.id = s.id)
    limit ${limit}`,
  )
}

/** I09: each grant was made once, by the transfer whose number it has, with what it says it granted. */
export function grantsAgainstOpening(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('grant %s of wallet %s: it says %s were granted, transfer %s says %s of %s', g.id,
      g.wallet_id,
      g.granted, g.id, coalesce(t.kind, 'nothing'), coalesce(t.amount, 0)) as detail
    from ledger.grants g
    left join ledger.transfers t on t.wallet_id = g.wallet_id and t.sequence = g.id
    left join ledger.transfer_kinds k on k.kind = t.kind
    where t.amount is distinct from g.granted or k.is_opening is distinct from true
    limit ${limit}`,
  )
}

/**
 * I05, I07, I10: amounts are in their bounds, and a wallet's balance and held are the sums of its started
 * grants.
 */
export function walletsAgainstGrants(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format(
        'wallet %s (%s %s): it says balance %s, held %s, scheduled %s; its grants hold %s, %s, %s', w.id,
      w.customer_id, w.unit, w.balance, w.held, w.scheduled, g.balance, g.held, g.scheduled) as detail
    from ledger.wallets w
    cross join lateral (
      select coalesce(sum(x.remaining) filter (where not x.is_scheduled), 0) as balance,
        coalesce(sum(x.held), 0) as held, coalesce(sum(x.remaining) filter (where x.is_scheduled),
          0) as scheduled
      from ledger.grants x
      where x.wallet_id = w.id) g
    where (w.balance, w.held, w.scheduled) <> (g.balance, g.held, g.scheduled)
    limit ${limit}`,
  )
}

export function amountsOutOfBounds(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format(
        'grant %s of wallet %s: granted %s, remaining %s, held %s, revoked %s, open %s, scheduled %s', id,
      wallet_id, granted, remaining, held, revoked, is_open, is_scheduled) as detail
    from ledger.grants
    where not (0 <= held and held <= remaining and 0 <= revoked and remaining + revoked <= granted)
      or is_open <> (remaining > 0 and not is_scheduled)
    union all
    select format('wallet %s (%s %s): balance %s, held %s, debt %s', id, customer_id, unit, balance, held,
      debt)
    from ledger.wallets
    where not (0 <= held and held <= balance and 0 <= debt)
    limit ${limit}`,
  )
}

/** The spend looks no further than `next_expiry`: it must not be later than what time does next. */
export function lateNextExpiry(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('wallet %s (%s %s): it looks at time again at %s, grant %s changes at %s', w.id,
      w.customer_id, w.unit,
      w.next_expiry, g.id, case when g.is_scheduled then g.starts_at else g.expires_at end) as detail
    from ledger.grants g
    join ledger.wallets w on w.id = g.wallet_id
    where (g.is_scheduled and g.starts_at < w.next_expiry)
      or (g.is_open and g.remaining > g.held and g.expires_at < w.next_expiry)
    limit ${limit}`,
  )
}

/** I13: nothing was used of a grant after its end, except what was held before. */
export function usesAfterExpiry(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('transfer %s of wallet %s: a %s at %s from grant %s, which ended at %s', t.sequence,
      t.wallet_id,
      t.kind, t.created_at, g.id, g.expires_at) as detail
    from ledger.transfers t
    join ledger.transfer_kinds k on k.kind = t.kind and k.is_use
    cross join lateral unnest(t.grant_ids) s (id)
    join ledger.grants g on g.wallet_id = t.wallet_id and g.id = s.id
    where t.created_at >= g.expires_at or t.created_at < g.starts_at
    limit ${limit}`,
  )
}

/** I14: expiry is booked soon after its moment; an hour is many runs of the sweeper. */
export function overdueExpiries(sql: Sql, limit: number, now: Date): Promise<string[]> {
  const too_old = new Date(now.getTime() - 3_600_000)
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('wallet %s (%s %s): something was due at %s and is not booked', id, customer_id, unit,
      next_expiry)
      as detail
    from ledger.wallets
    where next_expiry < ${too_old}
    limit ${limit}`,
  )
}

/** One transfer for each key; the unique index would have to be lost first. */
export function doubleKeys(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('wallet %s: transfers %s have one key', wallet_id, array_agg(sequence
      order by sequence)) as detail
    from ledger.transfers
    where key_digest is not null
    group by wallet_id, key_digest
    having count(*) > 1
    limit ${limit}`,
  )
}

/** I17: what was given back of a spend is not more than it took, and goes to the grants it was taken from. */
export function reversalsOverSpends(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('transfer %s of wallet %s: %s of grant %s were given back of %s taken', s.sequence,
      s.wallet_id,
      r.amount, r.id, coalesce(s.amount, 0)) as detail
    from (
      select t.wallet_id, t.related_sequence, g.id, sum(g.amount) as amount
      from ledger.transfers t
      cross join lateral unnest(t.grant_ids, t.grant_amounts) g (id, amount)
      where t.kind = 'reversal'
      group by t.wallet_id, t.related_sequence, g.id) r
    left join lateral (
      select t.wallet_id, t.sequence, (
        select sum(g.amount) from unnest(t.grant_ids, t.grant_amounts) g (id, amount)
          where g.id = r.id) as amount
      from ledger.transfers t
      where t.wallet_id = r.wallet_id and t.sequence = r.related_sequence
        and t.kind in ('spend', 'capture', 'late_capture')) s on true
    where r.amount > coalesce(s.amount, 0)
    limit ${limit}`,
  )
}

/** I15 and I16: what wallets and grants say is held is what open holds hold. */
export function heldAgainstHolds(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('grant %s of wallet %s: it says %s are held, open holds hold %s', g.id, g.wallet_id, g.held,
      coalesce(h.amount, 0)) as detail
    from ledger.grants g
    full join (
      select x.wallet_id, s.id, sum(s.amount) as amount
      from ledger.holds x
      cross join lateral unnest(x.grant_ids, x.grant_amounts) s (id, amount)
      where x.status = 'placed'
      group by x.wallet_id, s.id) h on h.wallet_id = g.wallet_id and h.id = g.id
    where coalesce(g.held, 0) <> coalesce(h.amount, 0)
    limit ${limit}`,
  )
}

/** I11 and I12: a hold's transfers say what the hold says, and every hold they name is there. */
export function holdsAgainstTransfers(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('hold %s: it is %s with %s of %s captured, its transfers say %s captured and %s released',
      coalesce(h.id, t.hold_id), coalesce(h.status, 'not there'), h.captured, h.amount, t.captured,
        t.released)
      as detail
    from ledger.holds h
    full join (
      select x.hold_id, coalesce(sum(x.amount) filter (where x.kind = 'hold'), 0) as placed,
        coalesce(sum(x.amount) filter (where x.kind in ('capture', 'late_capture')), 0) as captured,
        coalesce(sum(x.amount) filter (where x.kind = 'capture'), 0) as captured_in_time,
        coalesce(sum(x.amount) filter (where x.kind = 'release'), 0) as released
      from ledger.transfers x
      where x.hold_id is not null
      group by x.hold_id) t on t.hold_id = h.id
    where h.id is null or t.hold_id is null
      or t.placed <> h.amount
      or t.captured <> h.captured
      or t.captured_in_time + t.released <> case when h.status = 'placed' then 0 else h.amount end
    limit ${limit}`,
  )
}

/** Nothing is held past its time; an hour is many runs of the sweeper. */
export function overdueHolds(sql: Sql, limit: number, now: Date): Promise<string[]> {
  const too_old = new Date(now.getTime() - 3_600_000)
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('hold %s: it should have ended at %s', id, expires_at) as detail
    from ledger.holds
    where status = 'placed' and expires_at < ${too_old}
    limit ${limit}`,
  )
}

/** What grants say was revoked is what revocations say was taken and not given back. */
export function revokedAgainstRevocations(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format('grant %s of wallet %s: it says %s were revoked, revocations took %s', g.id, g.wallet_id,
      g.revoked,
      coalesce(r.amount, 0)) as detail
    from ledger.grants g
    left join (
      select s.wallet_id, s.id, sum(s.amount) as amount
      from ledger.revocations x
      cross join lateral unnest(x.slice_wallet_ids, x.slice_grant_ids, x.slice_amounts) s (wallet_id, id,
        amount)
      group by s.wallet_id, s.id) r on r.wallet_id = g.wallet_id and r.id = g.id
    where g.revoked <> coalesce(r.amount, 0)
    limit ${limit}`,
  )
}

/** A wallet that was merged into another keeps nothing but what is held. */
export function leftInMerged(sql: Sql, limit: number): Promise<string[]> {
  return sentences(
    sql,
    raw<{ detail: string }>`
    select format(
        'wallet %s (%s %s): it was merged into wallet %s and still has %s free, %s scheduled and %s of debt',
      w.id, w.customer_id, w.unit, w.merged_into, w.balance - w.held, w.scheduled, w.debt) as detail
    from ledger.wallets w
    where w.merged_into is not null and (w.balance > w.held or w.scheduled > 0 or w.debt > 0)
    limit ${limit}`,
  )
}
