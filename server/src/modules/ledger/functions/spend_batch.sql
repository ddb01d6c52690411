-- The common spends of a batch, set-based, in one commit. What it does not return was not done: replays,
-- several grants, short balance, a due expiry or start, wallets that others were merged into. That goes to
-- ledger.spend_rest right after. Of one wallet it does all new spends or none, so their order of arrival is
-- kept. p_keys and p_inputs are the digests of all items, 16 bytes each, one after another.
create or replace function ledger.spend_batch(
  p_wallet_ids bigint[], p_amounts bigint[], p_keys bytea, p_inputs bytea, p_actor_ids text[],
  p_reasons text[], p_references text[], p_metadata jsonb[], p_now timestamptz
) returns table (item int, sequence bigint, balance bigint, grant_id bigint) language plpgsql as $$
#variable_conflict use_column
begin
  -- The only locks, always in order of id, over all processes: no deadlock. What follows is a statement of
  -- its own and so sees everything that was committed before the locks were ours.
  perform 1 from ledger.wallets w where w.id = any(p_wallet_ids) order by w.id for no key update;
  return query
  with
    counted as (
      select
        u.item::int as item, u.wallet_id, u.amount, u.actor_id, u.reason, u.reference, u.metadata,
        substr(p_keys, u.item::int * 16 - 15, 16) as key_digest,
        substr(p_inputs, u.item::int * 16 - 15, 16) as input_digest,
        w.chain_hash, w.held,
        w.sequence + row_number() over so_far as sequence,
        w.balance - ledger.total(u.amount) over so_far as balance_after,
        ledger.total(u.amount) over whole as total,
        count(*) over whole = row_number() over so_far as is_last,
        w.balance - w.held as available,
        first_grant.id as grant_id, first_grant.free as grant_free
      from unnest(p_wallet_ids, p_amounts, p_actor_ids, p_reasons, p_references, p_metadata)
        with ordinality u (wallet_id, amount, actor_id, reason, reference, metadata, item)
      join ledger.wallets w on w.id = u.wallet_id
      cross join lateral (
        select g.id, g.remaining - g.held as free
        from ledger.grants g
        where g.wallet_id = u.wallet_id and g.is_open and g.remaining > g.held
        order by g.priority, g.expires_at, g.is_paid, g.created_at, g.id
        limit 1
      ) first_grant
      where w.next_expiry > p_now and not w.has_merged
        -- Before the windows: a replay must not count among the new ones.
        and not exists (
          select 1 from ledger.transfers t
          where t.wallet_id = u.wallet_id and t.key_digest = substr(p_keys, u.item::int * 16 - 15, 16))
      window
        whole as (partition by u.wallet_id),
        so_far as (partition by u.wallet_id order by u.item rows unbounded preceding)
    ),
    done as materialized (
      select c.*,
        ledger.chain(c.chain_hash, ledger.canonical_transfer(
          c.wallet_id, c.sequence, 'spend', c.amount, c.balance_after, c.held, array[c.grant_id],
            array[c.amount],
          c.key_digest, c.input_digest, c.actor_id, c.reason, c.reference, c.metadata, null, null, null,
            p_now)
        ) over (partition by c.wallet_id order by c.item rows unbounded preceding) as hash
      from counted c
      where c.total <= c.grant_free and c.total <= c.available
    ),
    burned as (
      update ledger.grants g
      set remaining = g.remaining - d.total, is_open = g.remaining > d.total
      from done d
      where d.is_last and g.wallet_id = d.wallet_id and g.id = d.grant_id
    ),
    moved as (
      update ledger.wallets w
      set balance = d.balance_after, sequence = d.sequence, chain_hash = d.hash
      from done d
      where d.is_last and w.id = d.wallet_id
    ),
    kept as (
      insert into ledger.transfers (
        wallet_id, sequence, amount, balance_after, held_after, created_at, kind, grant_ids, grant_amounts,
        key_digest, input_digest, hash, actor_id, reason, reference, metadata)
      select
        d.wallet_id, d.sequence, d.amount, d.balance_after, d.held, p_now, 'spend', array[d.grant_id],
        array[d.amount], d.key_digest, d.input_digest, d.hash, d.actor_id, d.reason, d.reference, d.metadata
      from done d
    )
  select d.item, d.sequence, d.balance_after, d.grant_id from done d;
end $$;
