-- Makes many grants in one call: what a burst of paid orders needs. Each is made once per (source, source_id),
-- or once per idempotency key where it has one. p_grants is an array of objects: customer_id, unit, the columns of
-- ledger.grants, and of the transfer: key_digest and input_digest (hex), actor_id, reason, reference, metadata,
-- kind (grant | adjustment_in); a child names its parent by parent_source and parent_source_id, which may be
-- in the same call before it. Status of each item:
-- granted | existing | conflict | too_large | unknown_unit | unknown_parent. Items that are not granted change nothing.
create or replace function ledger.grant_many(p_grants jsonb, p_now timestamptz) returns table (
  item int, status text, wallet_id bigint, grant_id bigint, balance bigint
) language plpgsql as $$
#variable_conflict use_column
declare
  g record;
  new_grant ledger.grants;
  old_grant ledger.grants;
  w ledger.wallets;
begin
  -- Wallets are made in one order everywhere, for the same reason they are locked in one.
  insert into ledger.wallets (customer_id, unit, created_at)
  select distinct x.customer_id, x.unit, p_now
  from jsonb_to_recordset(p_grants) x (customer_id text, unit text)
  join ledger.units u on u.code = x.unit
  where not exists (select 1 from ledger.wallets h where h.customer_id = x.customer_id and h.unit = x.unit)
  order by x.customer_id, x.unit
  on conflict do nothing;
  perform 1
  from ledger.wallets h
  where (h.customer_id, h.unit) in (
    select x.customer_id, x.unit from jsonb_to_recordset(p_grants) x (customer_id text, unit text))
  order by h.id for no key update;

  for g in
    select (ordinality)::int as n, value as body, x.*
    from jsonb_array_elements(p_grants) with ordinality
    cross join lateral jsonb_to_record(value) x (
      customer_id text, unit text, key_digest text, input_digest text, actor_id text, reason text, reference text,
      metadata jsonb, kind text, parent_source text, parent_source_id text)
    order by ordinality
  loop
    item := g.n; wallet_id := null; grant_id := null; balance := null;
    new_grant := jsonb_populate_record(null::ledger.grants, g.body);
    select * into w from ledger.wallets h where h.customer_id = g.customer_id and h.unit = g.unit;
    if not found then
      status := 'unknown_unit';
      return next;
      continue;
    end if;
    wallet_id := w.id;
    select * into old_grant from ledger.grants o
    where o.source = new_grant.source and o.source_id = new_grant.source_id;
    if found then
      grant_id := old_grant.id;
      wallet_id := old_grant.wallet_id;
      select case
          when t.amount = new_grant.granted and (h.id = w.id or h.merged_into = w.id)
            and (g.input_digest is null or t.input_digest = decode(g.input_digest, 'hex'))
          then 'existing' else 'conflict' end, t.balance_after
      into status, balance
      from ledger.transfers t join ledger.wallets h on h.id = t.wallet_id
      where t.wallet_id = old_grant.wallet_id and t.sequence = old_grant.id;
      return next;
      continue;
    end if;
    if exists (
      select 1 from ledger.transfers t
      where t.wallet_id = w.id and t.key_digest = decode(g.key_digest, 'hex')) then
      status := 'conflict';
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
    grant_id := ledger.open_grant(
      w.id, case when new_grant.starts_at > p_now then 'grant_schedule' else coalesce(g.kind, 'grant') end, new_grant,
      p_now, decode(g.key_digest, 'hex'), decode(g.input_digest, 'hex'), g.actor_id, g.reason, g.reference, g.metadata);
    select t.balance_after into balance from ledger.transfers t where t.wallet_id = w.id and t.sequence = grant_id;
    status := 'granted';
    return next;
  end loop;
end $$;
