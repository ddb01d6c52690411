-- Makes many grants in one call: what a burst of paid orders needs. Each is made once per (source,
-- source_id), or once per idempotency key where it has one. p_grants is an array of objects: customer_id,
-- unit, the columns of ledger.grants, and of the transfer: key_digest, input_digest, actor_id, reason,
-- reference, metadata, kind (grant | adjustment_in), digests as bytea texts; a child names its parent by
-- parent_source and parent_source_id, which may be in the same call before it. A customer that was merged
-- means the survivor. Status of each item: granted | existing | conflict | too_large | unknown_unit |
-- unknown_parent. Items that are not granted change nothing.
create or replace function ledger.grant_many(p_grants jsonb, p_now timestamptz) returns table (
  item int, status text, wallet_id bigint, grant_id bigint, balance bigint
) language plpgsql
-- Plans are kept from the first call, when tables may be empty: they must be the ones that fit full tables.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  g record;
  w ledger.wallets;
  new_grant ledger.grants;
  known record;
  kind text;
  -- Places that have no answer yet; of one name only the first goes with the batch.
  left_over int[];
  firsts int[];
  wallet_ids bigint[];
  is_family boolean;
  is_missing boolean;
  is_stale boolean := false;
begin
  -- Looked up once: each look reads all items and their wallets.
  with asked as materialized (select * from ledger.asked_wallets(p_grants))
  select array_agg(a.item), bool_or(a.body ? 'parent_source'), bool_or(a.wallet_id is null),
    array_agg(distinct a.wallet_id) filter (where a.wallet_id is not null),
    (select array_agg(f.item) from (
      select distinct on (n.body ->> 'source', n.body ->> 'source_id') n.item
      from asked n order by n.body ->> 'source', n.body ->> 'source_id', n.item) f)
  into left_over, is_family, is_missing, wallet_ids, firsts
  from asked a;
  -- Wallets are made in one order everywhere, for the same reason they are locked in one. A customer may be
  -- merged into another between the look and the lock: then it is another wallet, and both are done again.
  loop
    if is_missing then
      insert into ledger.wallets (customer_id, unit, created_at)
      select distinct a.customer_id, a.unit, p_now
      from ledger.asked_wallets(p_grants) a
      join ledger.units u on u.code = a.unit
      where a.wallet_id is null
      order by a.customer_id, a.unit
      on conflict do nothing;
    end if;
    if is_missing or is_stale then
      wallet_ids := array(select distinct a.wallet_id from ledger.asked_wallets(p_grants) a
        where a.wallet_id is not null);
    end if;
    select coalesce(bool_or(l.merged_into is not null), false) into is_stale from (
      select h.merged_into from ledger.wallets h where h.id = any(wallet_ids) order by h.id
      for no key update) l;
    exit when not is_missing and not is_stale;
    is_missing := exists (
      select 1 from ledger.asked_wallets(p_grants) a left join ledger.units u on u.code = a.unit
      where a.wallet_id is null and u.code is not null);
    exit when not is_missing and not exists (
      select 1 from ledger.asked_wallets(p_grants) a where a.wallet_id <> all(wallet_ids));
    is_stale := true;
  end loop;

  -- Children go in a second round, when their parents are there.
  for round in 1 .. case when is_family then 2 else 1 end loop
    firsts := array(select f from unnest(firsts) f where f = any(left_over));
    for g in select * from ledger.grant_batch(p_grants, firsts, p_now) loop
      item := g.item; wallet_id := g.wallet_id; grant_id := g.grant_id; balance := g.balance;
      status := 'granted';
      left_over := array_remove(left_over, item);
      return next;
    end loop;
    if cardinality(left_over) = 0 then
      return;
    end if;
  end loop;

  for g in
    select a.*, x.*
    from ledger.asked_wallets(p_grants) a
    cross join lateral jsonb_to_record(a.body) x (
      key_digest bytea, input_digest bytea, actor_id text, reason text, reference text, metadata jsonb,
        kind text,
      parent_source text, parent_source_id text)
    where a.item = any(left_over)
    order by a.item
  loop
    item := g.item; wallet_id := g.wallet_id; grant_id := null; balance := null;
    if wallet_id is null then
      status := 'unknown_unit';
      return next;
      continue;
    end if;
    new_grant := jsonb_populate_record(null::ledger.grants, g.body);
    select * into w from ledger.wallets h where h.id = g.wallet_id;
    select * into known from ledger.find_grant(w, new_grant.source, new_grant.source_id, g.key_digest);
    if found then
      wallet_id := known.wallet_id; grant_id := known.sequence; balance := known.balance_after;
      status := case
        when known.is_same_owner and known.amount = new_grant.granted
          and (g.input_digest is null or known.input_digest = g.input_digest)
        then 'existing' else 'conflict' end;
      return next;
      continue;
    end if;
    if w.balance + w.scheduled + new_grant.granted > 9007199254740991 then
      status := 'too_large';
      return next;
      continue;
    end if;
    if g.parent_source is not null then
      select p.wallet_id, p.id into new_grant.parent_wallet_id, new_grant.parent_id
      from ledger.grants p where p.source = g.parent_source and p.source_id = g.parent_source_id;
      if not found then
        status := 'unknown_parent';
        return next;
        continue;
      end if;
    end if;
    kind := case when new_grant.starts_at > p_now then 'grant_schedule' else coalesce(g.kind, 'grant') end;
    grant_id := ledger.open_grant(w.id, kind, new_grant, p_now, g.key_digest, g.input_digest, g.actor_id,
      g.reason,
      g.reference, g.metadata);
    balance := (select t.balance_after from ledger.transfers t where t.wallet_id = w.id
      and t.sequence = grant_id);
    status := 'granted';
    return next;
  end loop;
end $$;

-- The wallets that objects with customer_id and unit mean, at their places; null where there is none yet.
create or replace function ledger.asked_wallets(p_items jsonb) returns table (
  item int, body jsonb, customer_id text, unit text, wallet_id bigint
) language plpgsql stable as $$
begin
  return query
    select i.ordinality::int, i.value, coalesce(m.survivor_id, i.value ->> 'customer_id'),
      i.value ->> 'unit', w.id
    from jsonb_array_elements(p_items) with ordinality i
    left join ledger.merged_customers m on m.customer_id = i.value ->> 'customer_id'
    left join ledger.wallets w
      on w.customer_id = coalesce(m.survivor_id, i.value ->> 'customer_id') and w.unit = i.value ->> 'unit';
end $$;

-- The transfer that made a grant of this name, or that used this key in the wallet or one merged into it.
create or replace function ledger.find_grant(p_wallet ledger.wallets, p_source text, p_source_id text,
  p_key bytea)
returns table (
  wallet_id bigint, sequence bigint, amount bigint, balance_after bigint, input_digest bytea,
    is_same_owner boolean
) language plpgsql stable as $$
begin
  return query
    select t.wallet_id, t.sequence, t.amount, t.balance_after, t.input_digest,
      h.id = p_wallet.id or coalesce(h.merged_into = p_wallet.id, false)
    from ledger.grants g
    join ledger.wallets h on h.id = g.wallet_id
    join ledger.transfers t on t.wallet_id = g.wallet_id and t.sequence = g.id
    where g.source = p_source and g.source_id = p_source_id;
  if found or p_key is null then
    return;
  end if;
  return query
    select t.wallet_id, t.sequence, t.amount, t.balance_after, t.input_digest, true
    from ledger.transfers t where t.wallet_id = p_wallet.id and t.key_digest = p_key;
  if not found and p_wallet.has_merged then
    return query
      select t.wallet_id, t.sequence, t.amount, t.balance_after, t.input_digest, true
      from ledger.wallets m join ledger.transfers t on t.wallet_id = m.id and t.key_digest = p_key
      where m.merged_into = p_wallet.id;
  end if;
end $$;
