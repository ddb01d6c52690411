-- Spends one by one in order of arrival: everything the batch leaves over, and the spend inside a caller's
-- transaction. A refusal changes nothing, not even a due expiry. Status of each item:
-- spent | replayed | key_reused | insufficient | unknown_wallet.
create or replace function ledger.spend_rest(
  p_wallet_ids bigint[], p_amounts bigint[], p_keys bytea, p_inputs bytea, p_actor_ids text[],
  p_reasons text[], p_references text[], p_metadata jsonb[], p_now timestamptz
) returns table (
  item int, status text, wallet_id bigint, sequence bigint, balance bigint, available bigint,
  grant_ids bigint[], grant_amounts bigint[], created_at timestamptz
) language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  w ledger.wallets;
  t ledger.transfers;
  slices record;
  key bytea;
  input bytea;
begin
  perform 1 from ledger.wallets x where x.id = any(p_wallet_ids) order by x.id for no key update;
  for i in 1 .. cardinality(p_wallet_ids) loop
    item := i;
    key := substr(p_keys, i * 16 - 15, 16);
    input := substr(p_inputs, i * 16 - 15, 16);
    wallet_id := p_wallet_ids[i];
    select * into w from ledger.wallets x where x.id = wallet_id;
    select * into t from ledger.transfers x where x.wallet_id = w.id and x.key_digest = key;
    if t.wallet_id is null and w.has_merged then
      select x.* into t from ledger.wallets m join ledger.transfers x on x.wallet_id = m.id
        and x.key_digest = key
      where m.merged_into = w.id;
    end if;
    if t.wallet_id is not null then
      status := case when t.input_digest = input then 'replayed' else 'key_reused' end;
      wallet_id := t.wallet_id;
      sequence := t.sequence; balance := t.balance_after; available := null;
      grant_ids := t.grant_ids; grant_amounts := t.grant_amounts; created_at := t.created_at;
      return next;
      continue;
    end if;
    sequence := null; balance := null; available := null;
    grant_ids := null; grant_amounts := null; created_at := null;
    if w.id is null then
      status := 'unknown_wallet';
      return next;
      continue;
    end if;
    available := case when w.next_expiry > p_now then w.balance else ledger.live_balance(w.id,
      p_now) end - w.held;
    if p_amounts[i] > available then
      status := 'insufficient';
      return next;
      continue;
    end if;
    perform ledger.settle(w.id, p_now);
    slices := ledger.burn(w.id, p_amounts[i], p_now);
    if slices.taken < p_amounts[i] then
      raise exception 'wallet % shows more than its grants hold', w.id using errcode = 'LE002';
    end if;
    sequence := ledger.post(w.id, 'spend', p_amounts[i], slices.grant_ids, slices.grant_amounts, p_now, key,
      input,
      p_actor_ids[i], p_reasons[i], p_references[i], p_metadata[i]);
    select x.balance into balance from ledger.wallets x where x.id = w.id;
    status := 'spent'; available := null;
    grant_ids := slices.grant_ids; grant_amounts := slices.grant_amounts; created_at := p_now;
    return next;
  end loop;
end $$;
