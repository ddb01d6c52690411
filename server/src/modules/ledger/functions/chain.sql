-- The canonical text of a transfer, stated once: the writers hash it and verification hashes it again.
-- A row literal quotes what it must, so no two different rows have one text; nothing in it depends on a
-- setting.
create or replace function ledger.canonical_transfer(
  wallet_id bigint, sequence bigint, kind text, amount bigint, balance_after bigint, held_after bigint,
  grant_ids bigint[], grant_amounts bigint[], key_digest bytea, input_digest bytea, actor_id text,
    reason text,
  reference text, metadata jsonb, hold_id text, related_wallet_id bigint, related_sequence bigint,
  created_at timestamptz
) returns text language sql stable as $$
  select row(wallet_id, sequence, kind, amount, balance_after, held_after, grant_ids, grant_amounts,
    encode(key_digest, 'hex'), encode(input_digest, 'hex'), actor_id, reason, reference, metadata, hold_id,
    related_wallet_id, related_sequence, extract(epoch from created_at))::text
$$;

-- One link: the hash of a transfer from the hash before it and the transfer's canonical text.
create or replace function ledger.link_hash(previous bytea, canonical text) returns bytea
  language sql immutable as $$
  select sha256(previous || convert_to(canonical, 'UTF8'))
$$;

create or replace function ledger.chain_step(state bytea, first bytea, canonical text) returns bytea
language plpgsql immutable as $$
begin
  return sha256(coalesce(state, first) || convert_to(canonical, 'UTF8'));
end $$;

-- Links many transfers of one wallet at once: as a window in order of sequence. `first` is the hash before
-- them.
create or replace aggregate ledger.chain(first bytea, canonical text) (sfunc = ledger.chain_step,
  stype = bytea);

-- A sum of amounts that stays int8: sum(int8) is numeric and several times slower in a window.
-- Two hundred amounts below 2^53 fit.
create or replace aggregate ledger.total(bigint) (sfunc = int8pl, stype = int8, initcond = '0');
