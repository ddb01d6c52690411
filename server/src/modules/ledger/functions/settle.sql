-- Brings a wallet up to this moment: grants that start are started, grants that ended are closed, each by a
-- transfer. What is held of an ended grant stays until its hold is captured or released.
-- The caller holds the wallet's lock. Does nothing before the wallet's next_expiry.
create or replace function ledger.settle(p_wallet_id bigint, p_now timestamptz) returns void
  language plpgsql as $$
declare
  g record;
begin
  if (select w.next_expiry > p_now from ledger.wallets w where w.id = p_wallet_id) then
    return;
  end if;
  for g in
    select s.id, s.remaining from ledger.grants s
    where s.wallet_id = p_wallet_id and s.is_scheduled and s.starts_at <= p_now order by s.starts_at, s.id
  loop
    perform ledger.post(p_wallet_id, 'grant_start', g.remaining, array[g.id], array[g.remaining], p_now);
  end loop;
  for g in
    select o.id, o.remaining - o.held as free from ledger.grants o
    where o.wallet_id = p_wallet_id and o.is_open and o.expires_at <= p_now and o.remaining > o.held
    order by o.expires_at, o.id
  loop
    perform ledger.post(p_wallet_id, 'expiry', g.free, array[g.id], array[g.free], p_now);
  end loop;
  update ledger.wallets w
  set next_expiry = least(
    (select coalesce(min(o.expires_at), 'infinity') from ledger.grants o
     where o.wallet_id = p_wallet_id and o.is_open and o.expires_at > p_now),
    (select coalesce(min(s.starts_at), 'infinity') from ledger.grants s
     where s.wallet_id = p_wallet_id and s.is_scheduled))
  where w.id = p_wallet_id;
end $$;

-- Locks wallets in order of id, the only order locks are ever taken in, and settles each.
create or replace function ledger.lock_wallets(p_wallet_ids bigint[], p_now timestamptz)
returns setof ledger.wallets language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
set jit = off
as $$
begin
  perform 1 from ledger.wallets w where w.id = any(p_wallet_ids) order by w.id for no key update;
  perform ledger.settle(w.id, p_now)
  from (select x.id from ledger.wallets x where x.id = any(p_wallet_ids) and x.next_expiry <= p_now
    order by x.id) w;
  return query select w.* from ledger.wallets w where w.id = any(p_wallet_ids) order by w.id;
end $$;
