-- Who owns wallets and orders. A row is never deleted: a merge points it at the survivor, an erasure
-- empties it.
create schema customers;

create table customers.customers (
  id text primary key,
  -- The integrator's own name for this customer.
  external_id text,
  telegram_id bigint check (telegram_id > 0),
  -- Lower-cased by the program; the check speaks of ASCII only, on which all databases agree.
  email text check (email = lower(email collate "C")),
  phone text,
  name text,
  locale text,
  country text check (country ~ '^[A-Z]{2}$'),
  metadata jsonb not null default '{}',
  -- The lower-cased words this customer is found by, made by the program: no language rules, whole prefixes.
  search tsvector not null,
  -- Always the last survivor, never a customer that was merged itself.
  merged_into text references customers.customers (id),
  erased_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint customers_external_id unique (external_id),
  constraint customers_telegram_id unique (telegram_id),
  check (merged_into <> id)
);
create index customers_created on customers.customers (created_at desc, id desc);
create index customers_email on customers.customers (email) where email is not null;
create index customers_search on customers.customers using gin (search);
create index customers_merged_into on customers.customers (merged_into) where merged_into is not null;
