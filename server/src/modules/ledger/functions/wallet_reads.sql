-- What a wallet's balance is at a moment, whether or not it was settled: exactly what ledger.settle would
-- leave, grants that start now and repay a debt included. For reads and refusals, which write nothing.
create or replace function ledger.live_balance(p_wallet_id bigint, p_now timestamptz) returns bigint
language sql stable as $$
  select (
    coalesce(sum(case when g.expires_at > p_now then g.remaining else g.held end), 0)
    - least(
      (select w.debt from ledger.wallets w where w.id = p_wallet_id),
      coalesce(sum(g.remaining) filter (where g.is_scheduled and g.expires_at > p_now), 0))
  )::bigint
  from ledger.grants g
  where g.wallet_id = p_wallet_id and (g.is_open or g.is_scheduled and g.starts_at <= p_now)
$$;

-- Wallets and their grants as they are at a moment, whether or not they were settled: one row for each
-- wallet, then one for each of its first p_limit grants in the burn order. For reads; writes nothing.
create or replace function ledger.read_live(p_wallet_ids bigint[], p_now timestamptz, p_limit int)
  returns table (
  wallet_id bigint, is_wallet boolean, balance bigint, held bigint, debt bigint, is_due boolean, id bigint,
  granted bigint, remaining bigint, priority smallint, is_paid boolean, source text, expires_at timestamptz,
  created_at timestamptz
) language sql stable as $$
  select w.id, true, ledger.live_balance(w.id, p_now), w.held, w.debt, false, w.merged_into, null::bigint,
    null::bigint, null::smallint, null::boolean, null::text, null::timestamptz, null::timestamptz
  from ledger.wallets w
  where w.id = any(p_wallet_ids)
  union all
  select w.id, false, null, g.held, null, null, g.id, g.granted, g.remaining, g.priority, g.is_paid, g.source,
    g.expires_at, g.created_at
  from ledger.wallets w
  cross join lateral (
    select o.id, o.held, o.granted, o.priority, o.is_paid, o.source, o.expires_at, o.created_at,
      case when o.expires_at > p_now then o.remaining else o.held end as remaining
    from ledger.grants o
    where o.wallet_id = w.id and (o.is_open or o.is_scheduled and o.starts_at <= p_now)
      and (o.expires_at > p_now or o.held > 0)
    order by o.priority, o.expires_at, o.is_paid, o.created_at, o.id
    limit p_limit
  ) g
  where w.id = any(p_wallet_ids)
$$;
