-- The schema as all migrations and function files together leave it. Made by `npm run gen schema`, for reading and
-- for seeing in a diff what a migration changes. Databases are made by the migrations, never from this file.

-- ----------------------------------------------------------------------------------------------------
create schema catalog;

create table catalog.prices (
  id text not null,
  product_id text not null,
  currency text not null,
  amount bigint not null,
  is_active boolean not null default true,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null,
  deactivated_at timestamp with time zone,
  constraint prices_pkey PRIMARY KEY (id),
  constraint prices_amount_check CHECK (((amount >= 1) AND (amount <= '9007199254740991'::bigint))),
  constraint prices_check CHECK ((is_active = (deactivated_at IS NULL))),
  constraint prices_currency_check CHECK ((currency ~ '^[A-Z]{3,5}$'::text)),
  constraint prices_product_id_fkey FOREIGN KEY (product_id) REFERENCES catalog.products(id)
);
CREATE UNIQUE INDEX prices_active ON catalog.prices USING btree (product_id, currency) WHERE is_active;
CREATE INDEX prices_created ON catalog.prices USING btree (created_at DESC, id DESC);
CREATE INDEX prices_product ON catalog.prices USING btree (product_id, created_at DESC, id DESC);
CREATE TRIGGER prices_immutable BEFORE UPDATE ON catalog.prices FOR EACH ROW WHEN (((((((old.id IS DISTINCT FROM new.id) OR (old.product_id IS DISTINCT FROM new.product_id)) OR (old.currency IS DISTINCT FROM new.currency)) OR (old.amount IS DISTINCT FROM new.amount)) OR (old.created_at IS DISTINCT FROM new.created_at)) OR (new.is_active AND (NOT old.is_active)))) EXECUTE FUNCTION catalog.refuse_change();
CREATE TRIGGER prices_kept BEFORE DELETE ON catalog.prices FOR EACH ROW EXECUTE FUNCTION catalog.refuse_change();

create table catalog.product_grants (
  product_version_id text not null,
  "position" smallint not null,
  unit text not null,
  amount bigint not null,
  validity_days integer,
  priority smallint not null,
  source text not null,
  is_paid boolean not null,
  constraint product_grants_pkey PRIMARY KEY (product_version_id, "position"),
  constraint product_grants_amount_check CHECK (((amount >= 1) AND (amount <= '9007199254740991'::bigint))),
  constraint product_grants_check CHECK (((source = 'purchase'::text) OR (NOT is_paid))),
  constraint product_grants_position_check CHECK (("position" >= 0)),
  constraint product_grants_priority_check CHECK ((priority >= 0)),
  constraint product_grants_source_check CHECK ((source = ANY (ARRAY['purchase'::text, 'bonus'::text]))),
  constraint product_grants_validity_days_check CHECK ((validity_days > 0)),
  constraint product_grants_product_version_id_fkey FOREIGN KEY (product_version_id) REFERENCES catalog.product_versions(id),
  constraint product_grants_unit_fkey FOREIGN KEY (unit) REFERENCES ledger.units(code)
);
CREATE TRIGGER product_grants_immutable BEFORE DELETE OR UPDATE ON catalog.product_grants FOR EACH ROW EXECUTE FUNCTION catalog.refuse_change();

create table catalog.product_versions (
  id text not null,
  product_id text not null,
  version integer not null,
  created_at timestamp with time zone not null,
  constraint product_versions_pkey PRIMARY KEY (id),
  constraint product_versions_product_id_version_key UNIQUE (product_id, version),
  constraint product_versions_version_check CHECK ((version > 0)),
  constraint product_versions_product_id_fkey FOREIGN KEY (product_id) REFERENCES catalog.products(id)
);
CREATE TRIGGER product_versions_immutable BEFORE DELETE OR UPDATE ON catalog.product_versions FOR EACH ROW EXECUTE FUNCTION catalog.refuse_change();

create table catalog.products (
  id text not null,
  key text not null,
  kind text not null,
  version integer not null default 1,
  name text not null,
  names jsonb not null default '{}'::jsonb,
  description text,
  descriptions jsonb not null default '{}'::jsonb,
  "position" integer not null default 0,
  visible_from timestamp with time zone,
  visible_until timestamp with time zone,
  is_active boolean not null default true,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint products_pkey PRIMARY KEY (id),
  constraint products_key UNIQUE (key),
  constraint products_check CHECK ((visible_from < visible_until)),
  constraint products_kind_check CHECK ((kind = 'pack'::text)),
  constraint products_version_check CHECK ((version > 0))
);
CREATE INDEX products_created ON catalog.products USING btree (created_at DESC, id DESC);
CREATE INDEX products_shop ON catalog.products USING btree ("position", id) WHERE is_active;

CREATE OR REPLACE FUNCTION catalog.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception '%.% is never changed: make a new version or price', tg_table_schema, tg_table_name
    using errcode = 'restrict_violation';
end $function$;

-- ----------------------------------------------------------------------------------------------------
create schema customers;

create table customers.customers (
  id text not null,
  external_id text,
  telegram_id bigint,
  email text,
  phone text,
  name text,
  locale text,
  country text,
  metadata jsonb not null default '{}'::jsonb,
  search tsvector not null,
  merged_into text,
  erased_at timestamp with time zone,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint customers_pkey PRIMARY KEY (id),
  constraint customers_external_id UNIQUE (external_id),
  constraint customers_telegram_id UNIQUE (telegram_id),
  constraint customers_check CHECK ((merged_into <> id)),
  constraint customers_country_check CHECK ((country ~ '^[A-Z]{2}$'::text)),
  constraint customers_email_check CHECK ((email = lower((email COLLATE "C")))),
  constraint customers_telegram_id_check CHECK ((telegram_id > 0)),
  constraint customers_merged_into_fkey FOREIGN KEY (merged_into) REFERENCES customers.customers(id)
);
CREATE INDEX customers_created ON customers.customers USING btree (created_at DESC, id DESC);
CREATE INDEX customers_email ON customers.customers USING btree (email) WHERE (email IS NOT NULL);
CREATE INDEX customers_merged_into ON customers.customers USING btree (merged_into) WHERE (merged_into IS NOT NULL);
CREATE INDEX customers_search ON customers.customers USING gin (search);

-- ----------------------------------------------------------------------------------------------------
create schema kernel;

create table kernel.function_files (
  name text not null,
  digest text not null,
  applied_at timestamp with time zone not null default now(),
  constraint function_files_pkey PRIMARY KEY (name)
);

create table kernel.idempotency_keys (
  actor_id text not null,
  route text not null,
  key text not null,
  input_digest bytea not null,
  resource_id text,
  leased_until timestamp with time zone,
  status smallint,
  answer text,
  created_at timestamp with time zone not null,
  constraint idempotency_keys_pkey PRIMARY KEY (actor_id, route, key),
  constraint idempotency_keys_check CHECK (((status IS NULL) = (answer IS NULL)))
);
CREATE INDEX idempotency_keys_created ON kernel.idempotency_keys USING btree (created_at);

create table kernel.migrations (
  number integer not null,
  name text not null,
  digest text not null,
  applied_at timestamp with time zone not null default now(),
  constraint migrations_pkey PRIMARY KEY (number)
);

create table kernel.settings (
  name text not null,
  value jsonb not null,
  updated_at timestamp with time zone not null default now(),
  constraint settings_pkey PRIMARY KEY (name)
);

-- ----------------------------------------------------------------------------------------------------
create schema ledger;

create table ledger.grants (
  wallet_id bigint not null,
  id bigint not null,
  granted bigint not null,
  remaining bigint not null,
  held bigint not null default 0,
  written_off bigint not null default 0,
  price_amount bigint,
  price_units bigint,
  starts_at timestamp with time zone not null,
  expires_at timestamp with time zone not null default 'infinity'::timestamp with time zone,
  created_at timestamp with time zone not null,
  parent_wallet_id bigint,
  parent_id bigint,
  moved_to_wallet_id bigint,
  moved_to_id bigint,
  priority smallint not null,
  is_paid boolean not null,
  is_scheduled boolean not null default false,
  is_open boolean not null,
  price_currency text,
  source text not null,
  source_id text not null,
  constraint grants_pkey PRIMARY KEY (wallet_id, id),
  constraint grants_source UNIQUE (source, source_id),
  constraint grants_amounts CHECK (((0 <= held) AND (held <= remaining) AND (remaining <= granted))),
  constraint grants_check CHECK (((parent_wallet_id IS NULL) = (parent_id IS NULL))),
  constraint grants_check1 CHECK (((moved_to_wallet_id IS NULL) = (moved_to_id IS NULL))),
  constraint grants_granted_check CHECK (((granted >= 1) AND (granted <= '9007199254740991'::bigint))),
  constraint grants_open CHECK ((is_open = ((remaining > 0) AND (NOT is_scheduled)))),
  constraint grants_period CHECK ((starts_at < expires_at)),
  constraint grants_price CHECK ((((price_amount IS NULL) = (price_currency IS NULL)) AND ((price_amount IS NULL) = (price_units IS NULL)))),
  constraint grants_price_amount_check CHECK (((price_amount >= 0) AND (price_amount <= '9007199254740991'::bigint))),
  constraint grants_price_units_check CHECK ((price_units > 0)),
  constraint grants_scheduled CHECK (((NOT is_scheduled) OR ((held = 0) AND (remaining > 0)))),
  constraint grants_source_check CHECK ((source = ANY (ARRAY['purchase'::text, 'subscription'::text, 'promo'::text, 'bonus'::text, 'referral'::text, 'refund'::text, 'manual'::text, 'transfer'::text]))),
  constraint grants_source_id_check CHECK (((length(source_id) >= 1) AND (length(source_id) <= 300))),
  constraint grants_written_off_check CHECK ((written_off >= 0)),
  constraint grants_moved_to FOREIGN KEY (moved_to_wallet_id, moved_to_id) REFERENCES ledger.grants(wallet_id, id),
  constraint grants_parent FOREIGN KEY (parent_wallet_id, parent_id) REFERENCES ledger.grants(wallet_id, id),
  constraint grants_wallet_id_fkey FOREIGN KEY (wallet_id) REFERENCES ledger.wallets(id)
) with (fillfactor=70);
CREATE INDEX grants_burn_order ON ledger.grants USING btree (wallet_id, priority, expires_at, is_paid, created_at, id) WHERE is_open;
CREATE INDEX grants_children ON ledger.grants USING btree (parent_wallet_id, parent_id) WHERE (parent_id IS NOT NULL);
CREATE INDEX grants_scheduled_start ON ledger.grants USING btree (wallet_id, starts_at) WHERE is_scheduled;

create table ledger.holds (
  id text not null,
  wallet_id bigint not null,
  amount bigint not null,
  captured bigint not null default 0,
  placed_sequence bigint not null,
  closed_sequence bigint,
  expires_at timestamp with time zone not null,
  created_at timestamp with time zone not null,
  closed_at timestamp with time zone,
  is_late boolean not null default false,
  status text not null,
  reason text,
  reference text,
  metadata jsonb,
  grant_ids bigint[] not null,
  grant_amounts bigint[] not null,
  constraint holds_pkey PRIMARY KEY (id),
  constraint holds_amount_check CHECK (((amount >= 1) AND (amount <= '9007199254740991'::bigint))),
  constraint holds_captured CHECK ((((captured >= 0) AND (captured <= amount)) AND ((captured > 0) = (status = 'captured'::text)))),
  constraint holds_closed CHECK ((((status = 'placed'::text) = (closed_sequence IS NULL)) AND ((status = 'placed'::text) = (closed_at IS NULL)))),
  constraint holds_late CHECK (((NOT is_late) OR (status = 'captured'::text))),
  constraint holds_status_check CHECK ((status = ANY (ARRAY['placed'::text, 'captured'::text, 'released'::text, 'expired'::text]))),
  constraint holds_wallet_id_fkey FOREIGN KEY (wallet_id) REFERENCES ledger.wallets(id)
) with (fillfactor=80);
CREATE INDEX holds_due ON ledger.holds USING btree (expires_at) WHERE (status = 'placed'::text);
CREATE INDEX holds_placed ON ledger.holds USING btree (wallet_id) WHERE (status = 'placed'::text);

create table ledger.transfer_kinds (
  kind text not null,
  from_account text not null,
  to_account text not null,
  grant_remaining smallint not null,
  grant_held smallint not null,
  wallet_balance smallint not null,
  wallet_held smallint not null,
  wallet_scheduled smallint not null,
  wallet_debt smallint not null,
  is_opening boolean not null,
  is_inflow boolean not null,
  is_use boolean not null,
  constraint transfer_kinds_pkey PRIMARY KEY (kind)
);

create table ledger.transfers (
  wallet_id bigint not null,
  sequence bigint not null,
  amount bigint not null,
  balance_after bigint not null,
  held_after bigint not null,
  created_at timestamp with time zone not null,
  related_sequence bigint,
  related_wallet_id bigint,
  kind text not null,
  grant_ids bigint[] not null,
  grant_amounts bigint[] not null,
  key_digest bytea,
  input_digest bytea,
  hash bytea not null,
  actor_id text,
  reason text,
  reference text,
  hold_id text,
  metadata jsonb,
  constraint transfers_pkey PRIMARY KEY (wallet_id, sequence),
  constraint transfers_amount_check CHECK (((amount >= 1) AND (amount <= '9007199254740991'::bigint))),
  constraint transfers_balance_after_check CHECK ((balance_after >= 0)),
  constraint transfers_held_after_check CHECK ((held_after >= 0)),
  constraint transfers_input_digest_check CHECK ((length(input_digest) = 16)),
  constraint transfers_key_digest_check CHECK ((length(key_digest) = 16)),
  constraint transfers_sequence_check CHECK ((sequence > 0))
);
CREATE UNIQUE INDEX transfers_key ON ledger.transfers USING btree (wallet_id, key_digest) WHERE (key_digest IS NOT NULL);
CREATE INDEX transfers_related ON ledger.transfers USING btree (wallet_id, related_sequence) WHERE (related_sequence IS NOT NULL);
CREATE TRIGGER transfers_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.transfers FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
-- privileges: kopilka=arxtm/kopilka

create table ledger.units (
  code text not null,
  scale bigint not null,
  name text not null,
  translations jsonb not null default '{}'::jsonb,
  kind text not null default 'counted'::text,
  is_debt_allowed boolean not null default false,
  created_at timestamp with time zone not null,
  constraint units_pkey PRIMARY KEY (code),
  constraint units_code_check CHECK ((code ~ '^[A-Za-z][A-Za-z0-9_]{0,31}$'::text)),
  constraint units_kind_check CHECK ((kind = ANY (ARRAY['counted'::text, 'money'::text]))),
  constraint units_scale_check CHECK (((scale > 0) AND (scale <= '1000000000000'::bigint)))
);

create table ledger.wallets (
  id bigint not null generated always as identity,
  balance bigint not null default 0,
  held bigint not null default 0,
  scheduled bigint not null default 0,
  debt bigint not null default 0,
  sequence bigint not null default 0,
  next_expiry timestamp with time zone not null default 'infinity'::timestamp with time zone,
  created_at timestamp with time zone not null,
  customer_id text not null,
  unit text not null,
  chain_hash bytea not null default '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea,
  constraint wallets_pkey PRIMARY KEY (id),
  constraint wallets_customer_unit UNIQUE (customer_id, unit),
  constraint wallets_amounts CHECK (((held >= 0) AND (balance >= held) AND (scheduled >= 0) AND ((debt >= 0) AND (debt <= '9007199254740991'::bigint)) AND ((balance + scheduled) <= '9007199254740991'::bigint))),
  constraint wallets_unit_fkey FOREIGN KEY (unit) REFERENCES ledger.units(code)
) with (fillfactor=50);
CREATE INDEX wallets_next_expiry ON ledger.wallets USING btree (next_expiry) WHERE (next_expiry < 'infinity'::timestamp with time zone);

create view ledger.entries as
  SELECT t.wallet_id,
    t.sequence,
    side.account,
    side.amount,
    t.kind,
    t.created_at
   FROM ledger.transfers t
     JOIN ledger.transfer_kinds k ON k.kind = t.kind
     CROSS JOIN LATERAL ( VALUES (k.from_account,- t.amount), (k.to_account,t.amount)) side(account, amount);

CREATE OR REPLACE FUNCTION ledger.append(p_wallet_id bigint, p_rows jsonb, p_now timestamp with time zone)
 RETURNS TABLE(item integer, sequence bigint, balance_after bigint, held_after bigint)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
declare
  r record;
begin
  for r in
    select ordinality::int as n, x.*
    from jsonb_array_elements(p_rows) with ordinality
    cross join lateral jsonb_to_record(value) x (
      kind text, amount bigint, grant_ids bigint[], grant_amounts bigint[], key_digest text, input_digest text,
      actor_id text, reason text, reference text, metadata jsonb, hold_id text, related_wallet_id bigint,
      related_sequence bigint, new_grant jsonb)
    order by ordinality
  loop
    item := r.n;
    if r.new_grant is not null then
      sequence := ledger.open_grant(p_wallet_id, r.kind, jsonb_populate_record(null::ledger.grants, r.new_grant), p_now,
        decode(r.key_digest, 'hex'), decode(r.input_digest, 'hex'), r.actor_id, r.reason, r.reference, r.metadata,
        r.related_wallet_id, r.related_sequence);
    else
      sequence := ledger.post(p_wallet_id, r.kind, r.amount, coalesce(r.grant_ids, '{}'), coalesce(r.grant_amounts, '{}'),
        p_now, decode(r.key_digest, 'hex'), decode(r.input_digest, 'hex'), r.actor_id, r.reason, r.reference,
        r.metadata, r.hold_id, r.related_wallet_id, r.related_sequence);
    end if;
    select t.balance_after, t.held_after into balance_after, held_after
    from ledger.transfers t where t.wallet_id = p_wallet_id and t.sequence = append.sequence;
    return next;
  end loop;
  perform ledger.settle(p_wallet_id, p_now);
end $function$;

CREATE OR REPLACE FUNCTION ledger.burn(p_wallet_id bigint, p_amount bigint, p_now timestamp with time zone, OUT grant_ids bigint[], OUT grant_amounts bigint[], OUT taken bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION ledger.canonical_transfer(wallet_id bigint, sequence bigint, kind text, amount bigint, balance_after bigint, held_after bigint, grant_ids bigint[], grant_amounts bigint[], key_digest bytea, input_digest bytea, actor_id text, reason text, reference text, metadata jsonb, hold_id text, related_wallet_id bigint, related_sequence bigint, created_at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE
AS $function$
  select row(wallet_id, sequence, kind, amount, balance_after, held_after, grant_ids, grant_amounts,
    encode(key_digest, 'hex'), encode(input_digest, 'hex'), actor_id, reason, reference, metadata, hold_id,
    related_wallet_id, related_sequence, extract(epoch from created_at))::text
$function$;

CREATE OR REPLACE FUNCTION ledger.chain_step(state bytea, first bytea, canonical text)
 RETURNS bytea
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
begin
  return sha256(coalesce(state, first) || convert_to(canonical, 'UTF8'));
end $function$;

CREATE OR REPLACE FUNCTION ledger.grant_many(p_grants jsonb, p_now timestamp with time zone)
 RETURNS TABLE(item integer, status text, wallet_id bigint, grant_id bigint, balance bigint)
 LANGUAGE plpgsql
AS $function$
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
      select case
          when t.wallet_id = w.id and t.amount = new_grant.granted
            and (g.input_digest is null or t.input_digest = decode(g.input_digest, 'hex'))
          then 'existing' else 'conflict' end, t.balance_after
      into status, balance
      from ledger.transfers t where t.wallet_id = old_grant.wallet_id and t.sequence = old_grant.id;
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
end $function$;

CREATE OR REPLACE FUNCTION ledger.link_hash(previous bytea, canonical text)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select sha256(previous || convert_to(canonical, 'UTF8'))
$function$;

CREATE OR REPLACE FUNCTION ledger.live_balance(p_wallet_id bigint, p_now timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
  select (
    coalesce(sum(case when g.expires_at > p_now then g.remaining else g.held end), 0)
    - least(
      (select w.debt from ledger.wallets w where w.id = p_wallet_id),
      coalesce(sum(g.remaining) filter (where g.is_scheduled and g.expires_at > p_now), 0))
  )::bigint
  from ledger.grants g
  where g.wallet_id = p_wallet_id and (g.is_open or g.is_scheduled and g.starts_at <= p_now)
$function$;

CREATE OR REPLACE FUNCTION ledger.lock_wallets(p_wallet_ids bigint[], p_now timestamp with time zone)
 RETURNS SETOF ledger.wallets
 LANGUAGE plpgsql
AS $function$
begin
  perform 1 from ledger.wallets w where w.id = any(p_wallet_ids) order by w.id for no key update;
  perform ledger.settle(w.id, p_now)
  from (select x.id from ledger.wallets x where x.id = any(p_wallet_ids) and x.next_expiry <= p_now order by x.id) w;
  return query select w.* from ledger.wallets w where w.id = any(p_wallet_ids) order by w.id;
end $function$;

CREATE OR REPLACE FUNCTION ledger.open_grant(p_wallet_id bigint, p_kind text, p_grant ledger.grants, p_now timestamp with time zone, p_key bytea DEFAULT NULL::bytea, p_input bytea DEFAULT NULL::bytea, p_actor_id text DEFAULT NULL::text, p_reason text DEFAULT NULL::text, p_reference text DEFAULT NULL::text, p_metadata jsonb DEFAULT NULL::jsonb, p_related_wallet_id bigint DEFAULT NULL::bigint, p_related_sequence bigint DEFAULT NULL::bigint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  g ledger.grants := p_grant;
begin
  g.wallet_id := p_wallet_id;
  g.id := (select sequence + 1 from ledger.wallets where id = p_wallet_id);
  g.remaining := g.granted;
  g.held := 0;
  g.written_off := 0;
  g.starts_at := coalesce(g.starts_at, p_now);
  g.expires_at := coalesce(g.expires_at, 'infinity');
  g.created_at := coalesce(g.created_at, p_now);
  g.is_scheduled := p_kind in ('grant_schedule', 'scheduled_transfer_in');
  g.is_open := not g.is_scheduled;
  insert into ledger.grants select g.*;
  return ledger.post(p_wallet_id, p_kind, g.granted, array[g.id], array[g.granted], p_now, p_key, p_input,
    p_actor_id, p_reason, p_reference, p_metadata, null, p_related_wallet_id, p_related_sequence);
end $function$;

CREATE OR REPLACE FUNCTION ledger.post(p_wallet_id bigint, p_kind text, p_amount bigint, p_grant_ids bigint[], p_grant_amounts bigint[], p_now timestamp with time zone, p_key bytea DEFAULT NULL::bytea, p_input bytea DEFAULT NULL::bytea, p_actor_id text DEFAULT NULL::text, p_reason text DEFAULT NULL::text, p_reference text DEFAULT NULL::text, p_metadata jsonb DEFAULT NULL::jsonb, p_hold_id text DEFAULT NULL::text, p_related_wallet_id bigint DEFAULT NULL::bigint, p_related_sequence bigint DEFAULT NULL::bigint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  w ledger.wallets;
  k ledger.transfer_kinds;
  touched int;
  due timestamptz;
  slice record;
begin
  select * into strict w from ledger.wallets where id = p_wallet_id;
  select * into strict k from ledger.transfer_kinds where kind = p_kind;
  if cardinality(p_grant_ids) > 0
    and p_amount <> (select sum(amount) from unnest(p_grant_amounts) slices (amount)) then
    raise exception 'the slices of a % do not add up to %', p_kind, p_amount using errcode = 'LE002';
  end if;
  w.sequence := w.sequence + 1;
  w.balance := w.balance + k.wallet_balance * p_amount;
  w.held := w.held + k.wallet_held * p_amount;
  w.scheduled := w.scheduled + k.wallet_scheduled * p_amount;
  w.debt := w.debt + k.wallet_debt * p_amount;

  if not k.is_opening then
    update ledger.grants g
    set remaining = g.remaining + k.grant_remaining * s.amount,
      held = g.held + k.grant_held * s.amount,
      is_scheduled = g.is_scheduled and p_kind <> 'grant_start'
        and g.remaining + k.grant_remaining * s.amount > 0,
      is_open = g.remaining + k.grant_remaining * s.amount > 0
        and not (g.is_scheduled and p_kind <> 'grant_start')
    from unnest(p_grant_ids, p_grant_amounts) s (id, amount)
    where g.wallet_id = p_wallet_id and g.id = s.id;
    get diagnostics touched = row_count;
    if touched <> cardinality(p_grant_ids) then
      raise exception 'a % names a grant that is not there, or one twice', p_kind using errcode = 'LE002';
    end if;
  end if;
  -- Whatever may have brought a due grant back is looked at again by ledger.settle.
  if k.grant_remaining > 0 or k.grant_held < 0 or p_kind = 'grant_start' then
    select min(case when g.is_scheduled then g.starts_at else g.expires_at end) into due
    from ledger.grants g where g.wallet_id = p_wallet_id and g.id = any(p_grant_ids);
    w.next_expiry := least(w.next_expiry, due);
  end if;

  w.chain_hash := ledger.link_hash(w.chain_hash, ledger.canonical_transfer(
    p_wallet_id, w.sequence, p_kind, p_amount, w.balance, w.held, p_grant_ids, p_grant_amounts, p_key, p_input,
    p_actor_id, p_reason, p_reference, p_metadata, p_hold_id, p_related_wallet_id, p_related_sequence, p_now));
  insert into ledger.transfers (
    wallet_id, sequence, amount, balance_after, held_after, created_at, related_sequence, related_wallet_id, kind,
    grant_ids, grant_amounts, key_digest, input_digest, hash, actor_id, reason, reference, hold_id, metadata)
  values (
    p_wallet_id, w.sequence, p_amount, w.balance, w.held, p_now, p_related_sequence, p_related_wallet_id, p_kind,
    p_grant_ids, p_grant_amounts, p_key, p_input, w.chain_hash, p_actor_id, p_reason, p_reference, p_hold_id,
    p_metadata);
  update ledger.wallets
  set balance = w.balance, held = w.held, scheduled = w.scheduled, debt = w.debt, sequence = w.sequence,
    next_expiry = w.next_expiry, chain_hash = w.chain_hash
  where id = p_wallet_id;

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
      perform ledger.post(p_wallet_id, 'debt_repayment', slice.free, array[slice.id], array[slice.free], p_now,
        p_related_sequence => w.sequence);
    end loop;
  end if;
  return w.sequence;
end $function$;

CREATE OR REPLACE FUNCTION ledger.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'ledger.transfers is append-only: correct by a reversing transfer' using errcode = 'LE001';
end $function$;

CREATE OR REPLACE FUNCTION ledger.settle(p_wallet_id bigint, p_now timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION ledger.spend_batch(p_wallet_ids bigint[], p_amounts bigint[], p_keys bytea, p_inputs bytea, p_actor_ids text[], p_reasons text[], p_references text[], p_metadata jsonb[], p_now timestamp with time zone)
 RETURNS TABLE(item integer, sequence bigint, balance bigint, grant_id bigint)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
begin
  -- The only locks, always in order of id, over all processes: no deadlock. What follows is a statement of its
  -- own and so sees everything that was committed before the locks were ours.
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
      where w.next_expiry > p_now
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
          c.wallet_id, c.sequence, 'spend', c.amount, c.balance_after, c.held, array[c.grant_id], array[c.amount],
          c.key_digest, c.input_digest, c.actor_id, c.reason, c.reference, c.metadata, null, null, null, p_now)
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
end $function$;

CREATE OR REPLACE FUNCTION ledger.spend_rest(p_wallet_ids bigint[], p_amounts bigint[], p_keys bytea, p_inputs bytea, p_actor_ids text[], p_reasons text[], p_references text[], p_metadata jsonb[], p_now timestamp with time zone)
 RETURNS TABLE(item integer, status text, sequence bigint, balance bigint, available bigint, grant_ids bigint[], grant_amounts bigint[], created_at timestamp with time zone)
 LANGUAGE plpgsql
AS $function$
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
    select * into t from ledger.transfers x where x.wallet_id = p_wallet_ids[i] and x.key_digest = key;
    if found then
      status := case when t.input_digest = input then 'replayed' else 'key_reused' end;
      sequence := t.sequence; balance := t.balance_after; available := null;
      grant_ids := t.grant_ids; grant_amounts := t.grant_amounts; created_at := t.created_at;
      return next;
      continue;
    end if;
    sequence := null; balance := null; available := null; grant_ids := null; grant_amounts := null; created_at := null;
    select * into w from ledger.wallets x where x.id = p_wallet_ids[i];
    if not found then
      status := 'unknown_wallet';
      return next;
      continue;
    end if;
    available := case when w.next_expiry > p_now then w.balance else ledger.live_balance(w.id, p_now) end - w.held;
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
    sequence := ledger.post(w.id, 'spend', p_amounts[i], slices.grant_ids, slices.grant_amounts, p_now, key, input,
      p_actor_ids[i], p_reasons[i], p_references[i], p_metadata[i]);
    select x.balance into balance from ledger.wallets x where x.id = w.id;
    status := 'spent'; available := null;
    grant_ids := slices.grant_ids; grant_amounts := slices.grant_amounts; created_at := p_now;
    return next;
  end loop;
end $function$;

-- ----------------------------------------------------------------------------------------------------
create schema orders;

create table orders.fulfilments (
  order_id text not null,
  payment_id text not null,
  created_at timestamp with time zone not null,
  constraint fulfilments_pkey PRIMARY KEY (order_id),
  constraint fulfilments_payment_id_key UNIQUE (payment_id),
  constraint fulfilments_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders.orders(id)
);

create table orders.lines (
  id text not null,
  order_id text not null,
  "position" smallint not null,
  price_id text not null,
  product_id text not null,
  product_version_id text not null,
  name text not null,
  quantity bigint not null,
  unit_amount bigint not null,
  amount bigint not null,
  grants jsonb not null,
  constraint lines_pkey PRIMARY KEY (id),
  constraint lines_order_id_position_key UNIQUE (order_id, "position"),
  constraint lines_check CHECK ((amount = (unit_amount * quantity))),
  constraint lines_quantity_check CHECK (((quantity >= 1) AND (quantity <= 1000))),
  constraint lines_unit_amount_check CHECK ((unit_amount > 0)),
  constraint lines_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders.orders(id)
);

create table orders.orders (
  id text not null,
  customer_id text not null,
  status text not null,
  total bigint not null,
  currency text not null,
  gateway text not null,
  payment_id text,
  return_url text not null,
  receipt_contact jsonb,
  locale text not null default 'en'::text,
  metadata jsonb not null default '{}'::jsonb,
  expires_at timestamp with time zone not null,
  created_at timestamp with time zone not null,
  fulfilled_at timestamp with time zone,
  updated_at timestamp with time zone not null,
  constraint orders_pkey PRIMARY KEY (id),
  constraint orders_status_check CHECK ((status = ANY (ARRAY['open'::text, 'fulfilled'::text, 'canceled'::text, 'expired'::text]))),
  constraint orders_total_check CHECK ((total > 0))
) with (fillfactor=80);
CREATE INDEX orders_created ON orders.orders USING btree (created_at DESC, id DESC);
CREATE INDEX orders_customer ON orders.orders USING btree (customer_id, created_at DESC, id DESC);
CREATE INDEX orders_open ON orders.orders USING btree (expires_at) WHERE (status = 'open'::text);

create table orders.refund_revocations (
  refund_id text not null,
  customer_id text not null,
  unit text not null,
  grant_id text not null,
  amount bigint not null,
  shortfall bigint not null default 0,
  undone_at timestamp with time zone,
  created_at timestamp with time zone not null,
  constraint refund_revocations_pkey PRIMARY KEY (refund_id, grant_id),
  constraint refund_revocations_amount_check CHECK ((amount >= 0)),
  constraint refund_revocations_shortfall_check CHECK ((shortfall >= 0))
);

-- ----------------------------------------------------------------------------------------------------
create schema payments;

create table payments.gateway_settings (
  gateway text not null,
  is_enabled boolean not null default true,
  "position" integer not null default 100,
  sealed text not null,
  updated_at timestamp with time zone not null,
  constraint gateway_settings_pkey PRIMARY KEY (gateway)
);

create table payments.inbox (
  id bigint not null generated always as identity,
  gateway text not null,
  external_event_id text not null,
  type text not null,
  trust text not null,
  event jsonb not null,
  raw_body bytea,
  remote_address text,
  status text not null default 'received'::text,
  outcome text,
  repeats integer not null default 0,
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null,
  error text,
  received_at timestamp with time zone not null,
  handled_at timestamp with time zone,
  constraint inbox_pkey PRIMARY KEY (id),
  constraint inbox_gateway_external_event_id_key UNIQUE (gateway, external_event_id),
  constraint inbox_status_check CHECK ((status = ANY (ARRAY['received'::text, 'handling'::text, 'handled'::text, 'failed'::text]))),
  constraint inbox_trust_check CHECK ((trust = ANY (ARRAY['signed'::text, 'hint'::text])))
) with (fillfactor=70);
CREATE INDEX inbox_failed ON payments.inbox USING btree (id) WHERE (status = 'failed'::text);
CREATE INDEX inbox_open ON payments.inbox USING btree (next_attempt_at, id) WHERE (status = ANY (ARRAY['received'::text, 'handling'::text]));

create table payments.payments (
  id text not null,
  number integer not null generated always as identity,
  order_id text not null,
  customer_id text not null,
  gateway text not null,
  is_test boolean not null,
  status text not null,
  amount bigint not null,
  currency text not null,
  captured_amount bigint not null default 0,
  refunded_amount bigint not null default 0,
  fee bigint,
  external_id text,
  checkout_url text,
  description text not null,
  return_url text,
  may_capture_now boolean not null default true,
  has_save_consent boolean not null default false,
  method text,
  saved_method_id text,
  locale text not null default 'en'::text,
  telegram_id bigint,
  email text,
  receipt jsonb,
  failure_reason text,
  mismatch_reason text,
  mismatch jsonb,
  expires_at timestamp with time zone not null,
  next_check_at timestamp with time zone,
  check_attempts integer not null default 0,
  created_at timestamp with time zone not null,
  authorized_at timestamp with time zone,
  succeeded_at timestamp with time zone,
  finished_at timestamp with time zone,
  updated_at timestamp with time zone not null,
  constraint payments_pkey PRIMARY KEY (id),
  constraint payments_number_key UNIQUE (number),
  constraint payments_amount_check CHECK ((amount > 0)),
  constraint payments_check CHECK (((captured_amount >= 0) AND (captured_amount <= amount))),
  constraint payments_check1 CHECK (((refunded_amount >= 0) AND (refunded_amount <= captured_amount))),
  constraint payments_check2 CHECK ((((status = 'mismatch'::text) = (mismatch_reason IS NOT NULL)) OR (status <> 'mismatch'::text))),
  constraint payments_check3 CHECK (((status <> ALL (ARRAY['succeeded'::text, 'partially_refunded'::text, 'refunded'::text])) OR (captured_amount > 0))),
  constraint payments_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'requires_action'::text, 'authorized'::text, 'unknown'::text, 'expired'::text, 'failed'::text, 'canceled'::text, 'mismatch'::text, 'succeeded'::text, 'partially_refunded'::text, 'refunded'::text])))
) with (fillfactor=70);
CREATE INDEX payments_created ON payments.payments USING btree (created_at DESC, id DESC);
CREATE INDEX payments_customer ON payments.payments USING btree (customer_id, created_at DESC, id DESC);
CREATE INDEX payments_due ON payments.payments USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE UNIQUE INDEX payments_external ON payments.payments USING btree (gateway, external_id) WHERE (external_id IS NOT NULL);
CREATE INDEX payments_order ON payments.payments USING btree (order_id);
CREATE INDEX payments_review ON payments.payments USING btree (updated_at) WHERE (status = 'mismatch'::text);

create table payments.refunds (
  id text not null,
  payment_id text not null,
  status text not null,
  amount bigint not null,
  currency text not null,
  reason text not null,
  origin text not null,
  is_full boolean not null,
  external_id text,
  receipt jsonb,
  breakdown jsonb,
  failure_reason text,
  requested_by text not null,
  next_check_at timestamp with time zone,
  check_attempts integer not null default 0,
  created_at timestamp with time zone not null,
  finished_at timestamp with time zone,
  updated_at timestamp with time zone not null,
  constraint refunds_pkey PRIMARY KEY (id),
  constraint refunds_amount_check CHECK ((amount > 0)),
  constraint refunds_origin_check CHECK ((origin = ANY (ARRAY['api'::text, 'vendor'::text]))),
  constraint refunds_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'unknown'::text, 'succeeded'::text, 'failed'::text]))),
  constraint refunds_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments.payments(id)
);
CREATE INDEX refunds_created ON payments.refunds USING btree (created_at DESC, id DESC);
CREATE INDEX refunds_due ON payments.refunds USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE UNIQUE INDEX refunds_external ON payments.refunds USING btree (payment_id, external_id) WHERE (external_id IS NOT NULL);
CREATE INDEX refunds_payment ON payments.refunds USING btree (payment_id, created_at);

create table payments.saved_methods (
  id text not null,
  customer_id text not null,
  gateway text not null,
  external_id text not null,
  customer_external_id text,
  kind text not null,
  title text not null,
  is_test boolean not null,
  consented_at timestamp with time zone not null,
  expires_at timestamp with time zone,
  removed_at timestamp with time zone,
  created_at timestamp with time zone not null,
  constraint saved_methods_pkey PRIMARY KEY (id)
);
CREATE INDEX saved_methods_customer ON payments.saved_methods USING btree (customer_id) WHERE (removed_at IS NULL);
CREATE UNIQUE INDEX saved_methods_external ON payments.saved_methods USING btree (gateway, external_id, customer_id);

-- ----------------------------------------------------------------------------------------------------
create schema usage;

create table usage.meter_events (
  id text not null,
  event_id text not null,
  customer_id text not null,
  meter text not null,
  provider text,
  mode text,
  session_id text,
  duration_ms bigint not null,
  channels smallint not null,
  billable_ms bigint not null,
  amount bigint not null,
  unit text not null,
  spend_id text,
  slices jsonb not null,
  balance_after bigint not null,
  rate_card_id text,
  cost_nano bigint,
  cost_currency text,
  occurred_at timestamp with time zone not null,
  created_at timestamp with time zone not null,
  input_digest bytea not null,
  constraint meter_events_pkey PRIMARY KEY (id),
  constraint meter_events_customer_id_meter_event_id_key UNIQUE (customer_id, meter, event_id),
  constraint meter_events_amount_check CHECK ((amount >= 0)),
  constraint meter_events_billable_ms_check CHECK ((billable_ms >= 0)),
  constraint meter_events_duration_ms_check CHECK ((duration_ms >= 0)),
  constraint meter_events_meter_fkey FOREIGN KEY (meter) REFERENCES usage.meters(code),
  constraint meter_events_rate_card_id_fkey FOREIGN KEY (rate_card_id) REFERENCES usage.rate_cards(id)
);
CREATE INDEX meter_events_created ON usage.meter_events USING btree (created_at DESC, id DESC);
CREATE INDEX meter_events_customer ON usage.meter_events USING btree (customer_id, created_at DESC, id DESC);

create table usage.meters (
  code text not null,
  name text not null,
  unit text not null,
  part_ms bigint not null,
  increment_ms bigint not null,
  minimum_ms bigint not null,
  channel_group smallint not null default 1,
  round_per text not null,
  empty_increments smallint not null default 0,
  is_active boolean not null default true,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint meters_pkey PRIMARY KEY (code),
  constraint meters_channel_group_check CHECK (((channel_group >= 1) AND (channel_group <= 16))),
  constraint meters_empty_increments_check CHECK (((empty_increments >= 0) AND (empty_increments <= 10))),
  constraint meters_increment_ms_check CHECK ((increment_ms > 0)),
  constraint meters_minimum_ms_check CHECK ((minimum_ms >= 0)),
  constraint meters_part_ms_check CHECK ((part_ms > 0)),
  constraint meters_round_per_check CHECK ((round_per = ANY (ARRAY['request'::text, 'session'::text])))
);

create table usage.rate_cards (
  id text not null,
  provider text not null,
  mode text not null,
  increment_ms bigint not null,
  minimum_ms bigint not null,
  channel_group smallint not null default 1,
  round_per text not null,
  empty_increments smallint not null default 0,
  nano_per_increment bigint not null,
  currency text not null,
  as_of date not null,
  source text not null,
  effective_from timestamp with time zone not null,
  effective_to timestamp with time zone,
  created_at timestamp with time zone not null,
  constraint rate_cards_pkey PRIMARY KEY (id),
  constraint rate_cards_channel_group_check CHECK (((channel_group >= 1) AND (channel_group <= 16))),
  constraint rate_cards_increment_ms_check CHECK ((increment_ms > 0)),
  constraint rate_cards_minimum_ms_check CHECK ((minimum_ms >= 0)),
  constraint rate_cards_nano_per_increment_check CHECK ((nano_per_increment >= 0)),
  constraint rate_cards_round_per_check CHECK ((round_per = ANY (ARRAY['request'::text, 'session'::text])))
);
CREATE INDEX rate_cards_lookup ON usage.rate_cards USING btree (provider, mode, effective_from DESC);
CREATE UNIQUE INDEX rate_cards_once ON usage.rate_cards USING btree (provider, mode, effective_from);

create table usage.sessions (
  customer_id text not null,
  meter text not null,
  session_id text not null,
  channels smallint not null,
  duration_ms bigint not null,
  billed_ms bigint not null,
  cost_ms bigint not null default 0,
  updated_at timestamp with time zone not null,
  constraint sessions_pkey PRIMARY KEY (customer_id, meter, session_id),
  constraint sessions_meter_fkey FOREIGN KEY (meter) REFERENCES usage.meters(code)
);
