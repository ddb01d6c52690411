-- Appends transfers to one wallet whose lock the caller holds, in order, and settles it afterwards, so that
-- what was given back to an ended grant ends again. p_rows is an array of objects with the columns of
-- ledger.transfers; digests are hex; an object with `new_grant` (columns of ledger.grants) opens one.
create or replace function ledger.append(p_wallet_id bigint, p_rows jsonb, p_now timestamptz) returns table (
  item int, sequence bigint, balance_after bigint, held_after bigint
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
  r record;
begin
  for r in
    select ordinality::int as n, x.*
    from jsonb_array_elements(p_rows) with ordinality
    cross join lateral jsonb_to_record(value) x (
      kind text, amount bigint, grant_ids bigint[], grant_amounts bigint[], key_digest text,
        input_digest text,
      actor_id text, reason text, reference text, metadata jsonb, hold_id text, related_wallet_id bigint,
      related_sequence bigint, new_grant jsonb)
    order by ordinality
  loop
    item := r.n;
    if r.new_grant is not null then
      sequence := ledger.open_grant(p_wallet_id, r.kind, jsonb_populate_record(null::ledger.grants,
        r.new_grant), p_now,
        decode(r.key_digest, 'hex'), decode(r.input_digest, 'hex'), r.actor_id, r.reason, r.reference,
          r.metadata,
        r.related_wallet_id, r.related_sequence);
    else
      sequence := ledger.post(p_wallet_id, r.kind, r.amount, coalesce(r.grant_ids, '{}'),
        coalesce(r.grant_amounts, '{}'),
        p_now, decode(r.key_digest, 'hex'), decode(r.input_digest, 'hex'), r.actor_id, r.reason, r.reference,
        r.metadata, r.hold_id, r.related_wallet_id, r.related_sequence);
    end if;
    select t.balance_after, t.held_after into balance_after, held_after
    from ledger.transfers t where t.wallet_id = p_wallet_id and t.sequence = append.sequence;
    return next;
  end loop;
  perform ledger.settle(p_wallet_id, p_now);
end $$;
