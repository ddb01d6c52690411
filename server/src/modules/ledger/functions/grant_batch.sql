-- The common grants of a call, set-based: new names, no key, no debt to repay, no start in the future, a
-- parent that is there already. The caller has locked the wallets. Answers what it made; the rest is for
-- grant_many.
create or replace function ledger.grant_batch(p_grants jsonb, p_items int[], p_now timestamptz)
  returns table (
  item int, wallet_id bigint, grant_id bigint, balance bigint
) language plpgsql as $$
#variable_conflict use_column
begin
  return query
  with
    asked as (
      select a.item, a.wallet_id, x.*, w.sequence + row_number() over so_far as id,
        w.balance + ledger.total(x.granted) over so_far as balance_after, w.held, w.chain_hash,
        ledger.total(x.granted) over whole + w.balance + w.scheduled as total,
        count(*) over whole = row_number() over so_far as is_last,
        min(coalesce(x.expires_at, 'infinity')) over whole as next_expiry,
        p.wallet_id as parent_wallet_id, p.id as parent_id
      from ledger.asked_wallets(p_grants) a
      cross join lateral jsonb_to_record(a.body) x (
        granted bigint, price_amount bigint, price_units bigint, price_currency text, starts_at timestamptz,
        expires_at timestamptz, priority smallint, is_paid boolean, source text, source_id text,
          parent_source text,
        parent_source_id text, key_digest text, actor_id text, reason text, reference text, metadata jsonb,
          kind text)
      join ledger.wallets w on w.id = a.wallet_id
      left join ledger.grants p on p.source = x.parent_source and p.source_id = x.parent_source_id
      where a.item = any(p_items) and w.debt = 0 and x.key_digest is null and coalesce(x.starts_at <= p_now,
        true)
        and (x.parent_source is null or p.id is not null)
        and not exists (select 1 from ledger.grants g where g.source = x.source and g.source_id = x.source_id)
      window
        whole as (partition by a.wallet_id),
        so_far as (partition by a.wallet_id order by a.item rows unbounded preceding)
    ),
    done as materialized (
      select a.*,
        ledger.chain(a.chain_hash, ledger.canonical_transfer(
          a.wallet_id, a.id, coalesce(a.kind, 'grant'), a.granted, a.balance_after, a.held, array[a.id],
          array[a.granted], null, null, a.actor_id, a.reason, a.reference, a.metadata, null, null, null,
            p_now)
        ) over (partition by a.wallet_id order by a.item rows unbounded preceding) as hash
      from asked a
      where a.total <= 9007199254740991
    ),
    granted as (
      insert into ledger.grants (
        wallet_id, id, granted, remaining, price_amount, price_units, price_currency, starts_at, expires_at,
        created_at, parent_wallet_id, parent_id, priority, is_paid, is_open, source, source_id)
      select d.wallet_id, d.id, d.granted, d.granted, d.price_amount, d.price_units, d.price_currency,
        coalesce(d.starts_at, p_now), coalesce(d.expires_at, 'infinity'), p_now, d.parent_wallet_id,
          d.parent_id,
        d.priority, d.is_paid, true, d.source, d.source_id
      from done d
    ),
    moved as (
      update ledger.wallets w
      set balance = d.balance_after, sequence = d.id, chain_hash = d.hash,
        next_expiry = least(w.next_expiry, d.next_expiry)
      from done d
      where d.is_last and w.id = d.wallet_id
    ),
    kept as (
      insert into ledger.transfers (
        wallet_id, sequence, amount, balance_after, held_after, created_at, kind, grant_ids, grant_amounts,
          hash,
        actor_id, reason, reference, metadata)
      select d.wallet_id, d.id, d.granted, d.balance_after, d.held, p_now, coalesce(d.kind, 'grant'),
        array[d.id],
        array[d.granted], d.hash, d.actor_id, d.reason, d.reference, d.metadata
      from done d
    )
  select d.item, d.wallet_id, d.id, d.balance_after from done d;
end $$;
