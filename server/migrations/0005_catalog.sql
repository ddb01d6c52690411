-- What is sold and for how much. What a product grants is versioned: who bought keeps what he bought.
create schema catalog;

create table catalog.products (
  id text primary key,
  -- The owner's own stable name; by it a catalog file finds the product again.
  key text not null,
  kind text not null check (kind in ('pack')),
  -- Number of the version sold now.
  version int not null default 1 check (version > 0),
  name text not null,
  names jsonb not null default '{}',
  description text,
  descriptions jsonb not null default '{}',
  -- Where it stands in the shop: ascending, then in order of creation.
  position int not null default 0,
  -- On sale from (inclusive) until (exclusive); null is without a bound.
  visible_from timestamptz,
  visible_until timestamptz,
  is_active boolean not null default true,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint products_key unique (key),
  check (visible_from < visible_until)
);
create index products_created on catalog.products (created_at desc, id desc);
create index products_shop on catalog.products (position, id) where is_active;

create table catalog.product_versions (
  id text primary key,
  product_id text not null references catalog.products (id),
  version int not null check (version > 0),
  created_at timestamptz not null,
  unique (product_id, version)
);

create table catalog.product_grants (
  product_version_id text not null references catalog.product_versions (id),
  position smallint not null check (position >= 0),
  unit text not null references ledger.units (code),
  amount bigint not null check (amount between 1 and 9007199254740991),
  -- Days from the moment of fulfilment; null never expires.
  validity_days int check (validity_days > 0),
  priority smallint not null check (priority >= 0),
  source text not null check (source in ('purchase', 'bonus')),
  is_paid boolean not null,
  primary key (product_version_id, position),
  check (source = 'purchase' or not is_paid)
);

create table catalog.prices (
  id text primary key,
  product_id text not null references catalog.products (id),
  currency text not null check (currency ~ '^[A-Z]{3,5}$'),
  amount bigint not null check (amount between 1 and 9007199254740991),
  is_active boolean not null default true,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  deactivated_at timestamptz,
  check (is_active = (deactivated_at is null))
);
-- One price per currency is asked at a time; earlier ones stay, since orders name them.
create unique index prices_active on catalog.prices (product_id, currency) where is_active;
create index prices_product on catalog.prices (product_id, created_at desc, id desc);
create index prices_created on catalog.prices (created_at desc, id desc);

-- Orders point at versions and prices, so the database itself refuses to rewrite them.
create function catalog.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '%.% is never changed: make a new version or price', tg_table_schema, tg_table_name
    using errcode = 'restrict_violation';
end $$;

create trigger product_versions_immutable before update or delete on catalog.product_versions
  for each row execute function catalog.refuse_change();
create trigger product_grants_immutable before update or delete on catalog.product_grants
  for each row execute function catalog.refuse_change();
create trigger prices_immutable before update on catalog.prices
  for each row when (
    (old.id, old.product_id, old.currency, old.amount, old.created_at)
      is distinct from (new.id, new.product_id, new.currency, new.amount, new.created_at)
    or (new.is_active and not old.is_active))
  execute function catalog.refuse_change();
create trigger prices_kept before delete on catalog.prices
  for each row execute function catalog.refuse_change();
