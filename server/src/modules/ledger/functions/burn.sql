-- Slices for an amount in the burn order: priority, expiry (none last), free before paid, created, id.
-- Takes only what is free now; answers less than was asked when there is less. The twin of burn-order.ts.
create or replace function ledger.burn(
  p_wallet_id bigint, p_amount bigint, p_now timestamptz, out grant_ids bigint[],
    out grant_amounts bigint[], out taken bigint
) language plpgsql stable as $$
declare
  g record;
  slice bigint;
begin
  grant_ids := '{}';
  grant_amounts := '{}';
  taken := 0;
  for g in
    select o.id, o.remaining - o.held as free from ledger.grants o
    where o.wallet_id = p_wallet_id and o.is_open and o.remaining > o.held and o.expires_at > p_now
    order by o.priority, o.expires_at, o.is_paid, o.created_at, o.id
  loop
    exit when taken = p_amount;
    slice := least(g.free, p_amount - taken);
    grant_ids := grant_ids || g.id;
    grant_amounts := grant_amounts || slice;
    taken := taken + slice;
  end loop;
end $$;
