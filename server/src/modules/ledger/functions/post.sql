-- Appends one transfer and brings the figures beside it up to date, by the signs of its kind.
-- The caller holds the wallet's lock. Answers the transfer's sequence.
-- Raises LE002 when the slices do not fit the grants: a mistake of ours, caught before it is kept.
create or replace function ledger.post(
  p_wallet_id bigint, p_kind text, p_amount bigint, p_grant_ids bigint[], p_grant_amounts bigint[],
  p_now timestamptz, p_key bytea default null, p_input bytea default null, p_actor_id text default null,
  p_reason text default null, p_reference text default null, p_metadata jsonb default null,
  p_hold_id text default null, p_related_wallet_id bigint default null, p_related_sequence bigint default null
) returns bigint language plpgsql as $$
declare
  w ledger.wallets;
  k ledger.transfer_kinds;
  touched int;
  due timestamptz;
  slice record;
begin
  select * into strict k from ledger.transfer_kinds where kind = p_kind;
  select * into strict w from ledger.wallets where id = p_wallet_id;
  w.sequence := w.sequence + 1;
  w.balance := w.balance + k.wallet_balance * p_amount;
  w.held := w.held + k.wallet_held * p_amount;
  w.scheduled := w.scheduled + k.wallet_scheduled * p_amount;
  w.debt := w.debt + k.wallet_debt * p_amount;
  w.chain_hash := ledger.link_hash(w.chain_hash, ledger.canonical_transfer(
    p_wallet_id, w.sequence, p_kind, p_amount, w.balance, w.held, p_grant_ids, p_grant_amounts, p_key,
      p_input,
    p_actor_id, p_reason, p_reference, p_metadata, p_hold_id, p_related_wallet_id, p_related_sequence,
      p_now));
  -- Whatever may bring a due grant back is looked at again by ledger.settle.
  if k.grant_remaining > 0 or k.grant_held < 0 or p_kind = 'grant_start' then
    select min(case when k.wallet_scheduled > 0 then g.starts_at else g.expires_at end) into due
    from ledger.grants g where g.wallet_id = p_wallet_id and g.id = any(p_grant_ids);
    w.next_expiry := least(w.next_expiry, due);
  end if;

  -- One statement: each further one would cost about as much again as what it does.
  with
    slices as (
      select s.id, s.amount, k.wallet_scheduled <> 0 and p_kind <> 'grant_start' as is_scheduled
      from unnest(p_grant_ids, p_grant_amounts) s (id, amount)
      where not k.is_opening
    ),
    changed as (
      update ledger.grants g
      set remaining = g.remaining + k.grant_remaining * s.amount,
        held = g.held + k.grant_held * s.amount,
        revoked = g.revoked + k.grant_revoked * s.amount,
        is_scheduled = g.remaining + k.grant_remaining * s.amount > 0 and s.is_scheduled,
        is_open = g.remaining + k.grant_remaining * s.amount > 0 and not s.is_scheduled
      from slices s
      where g.wallet_id = p_wallet_id and g.id = s.id
      returning s.amount
    ),
    kept as (
      insert into ledger.transfers (
        wallet_id, sequence, amount, balance_after, held_after, created_at, related_sequence,
          related_wallet_id,
        kind, grant_ids, grant_amounts, key_digest, input_digest, hash, actor_id, reason, reference,
          hold_id, metadata)
      values (
        p_wallet_id, w.sequence, p_amount, w.balance, w.held, p_now, p_related_sequence,
          p_related_wallet_id, p_kind,
        p_grant_ids, p_grant_amounts, p_key, p_input, w.chain_hash, p_actor_id, p_reason, p_reference,
          p_hold_id,
        p_metadata)
    ),
    moved as (
      update ledger.wallets
      set balance = w.balance, held = w.held, scheduled = w.scheduled, debt = w.debt, sequence = w.sequence,
        next_expiry = w.next_expiry, chain_hash = w.chain_hash
      where id = p_wallet_id
    )
  select case when count(*) = cardinality(p_grant_ids) and sum(c.amount) = p_amount then 0
    else 1 end into touched
  from changed c;
  if touched <> 0 and not k.is_opening and cardinality(p_grant_ids) > 0 then
    raise exception 'the slices of a % do not fit the grants of wallet %', p_kind,
      p_wallet_id using errcode = 'LE002';
  end if;

  if p_kind in ('reversal', 'release') then
    perform ledger.recover(p_wallet_id, p_grant_ids, p_grant_amounts, w.sequence, p_now);
  end if;
  if k.is_inflow and w.debt > 0 then
    for slice in
      select g.id, least(g.remaining - g.held, s.amount) as free
      from unnest(p_grant_ids, p_grant_amounts) s (id, amount)
      join ledger.grants g on g.wallet_id = p_wallet_id and g.id = s.id
      where g.expires_at > p_now
    loop
      exit when w.debt = 0;
      continue when slice.free = 0;
      slice.free := least(slice.free, w.debt);
      w.debt := w.debt - slice.free;
      perform ledger.post(p_wallet_id, 'debt_repayment', slice.free, array[slice.id], array[slice.free],
        p_now,
        p_related_sequence => w.sequence);
    end loop;
  end if;
  return w.sequence;
end $$;

-- Units that were refunded and had been used come back: they are taken now, so that money and units are not
-- both the customer's. The revocation may stand at the grant this one was a part of.
create or replace function ledger.recover(
  p_wallet_id bigint, p_grant_ids bigint[], p_grant_amounts bigint[], p_sequence bigint, p_now timestamptz
) returns void language plpgsql as $$
declare
  r record;
  taken_now bigint;
begin
  for r in
    select v.wallet_id, v.key_digest, v.actor_id, v.reason, v.reference, s.id, s.amount
    from unnest(p_grant_ids, p_grant_amounts) s (id, amount)
    join ledger.grants g on g.wallet_id = p_wallet_id and g.id = s.id
    join ledger.revocations v
      on v.wallet_id = coalesce(g.origin_wallet_id, g.wallet_id) and v.grant_id = coalesce(g.origin_id, g.id)
      and v.written_off > 0
    order by v.created_at, v.key_digest
  loop
    select least(v.written_off, r.amount, g.remaining - g.held) into taken_now
    from ledger.revocations v, ledger.grants g
    where v.wallet_id = r.wallet_id and v.key_digest = r.key_digest and g.wallet_id = p_wallet_id
      and g.id = r.id
    for update of v;
    continue when taken_now = 0;
    perform ledger.post(p_wallet_id, 'revocation', taken_now, array[r.id], array[taken_now], p_now,
      p_actor_id => r.actor_id, p_reason => r.reason, p_reference => r.reference,
        p_related_sequence => p_sequence);
    update ledger.revocations v
    set taken = v.taken + taken_now, written_off = v.written_off - taken_now,
      slice_wallet_ids = v.slice_wallet_ids || p_wallet_id,
        slice_grant_ids = v.slice_grant_ids || r.id::bigint,
      slice_amounts = v.slice_amounts || taken_now
    where v.wallet_id = r.wallet_id and v.key_digest = r.key_digest;
  end loop;
end $$;

-- Makes a grant and the transfer that fills it; answers the id of both. The caller holds the wallet's lock.
-- p_kind is an opening kind; a grant that starts later is scheduled, whichever of the pair was named.
create or replace function ledger.open_grant(
  p_wallet_id bigint, p_kind text, p_grant ledger.grants, p_now timestamptz, p_key bytea default null,
  p_input bytea default null, p_actor_id text default null, p_reason text default null,
  p_reference text default null, p_metadata jsonb default null, p_related_wallet_id bigint default null,
  p_related_sequence bigint default null
) returns bigint language plpgsql as $$
declare
  g ledger.grants := p_grant;
begin
  g.wallet_id := p_wallet_id;
  g.id := (select sequence + 1 from ledger.wallets where id = p_wallet_id);
  g.remaining := g.granted;
  g.held := 0;
  g.revoked := 0;
  g.starts_at := coalesce(g.starts_at, p_now);
  g.expires_at := coalesce(g.expires_at, 'infinity');
  g.created_at := coalesce(g.created_at, p_now);
  g.is_scheduled := p_kind in ('grant_schedule', 'scheduled_transfer_in');
  g.is_open := not g.is_scheduled;
  insert into ledger.grants select g.*;
  return ledger.post(p_wallet_id, p_kind, g.granted, array[g.id], array[g.granted], p_now, p_key, p_input,
    p_actor_id, p_reason, p_reference, p_metadata, null, p_related_wallet_id, p_related_sequence);
end $$;
