-- What is measured: meters (what a customer pays in units), rate cards (what a provider charges us), events.
create schema usage;

create table usage.meters (
  code text primary key,
  name text not null,
  -- The ledger's unit that is spent, and how many milliseconds one smallest part of it stands for.
  unit text not null,
  part_ms bigint not null check (part_ms > 0),
  increment_ms bigint not null check (increment_ms > 0),
  minimum_ms bigint not null check (minimum_ms >= 0),
  channel_group smallint not null default 1 check (channel_group between 1 and 16),
  -- 'request': every event is rounded by itself. 'session': the sum of a session is rounded.
  round_per text not null check (round_per in ('request', 'session')),
  -- Rounded units an event without any duration costs.
  empty_increments smallint not null default 0 check (empty_increments between 0 and 10),
  is_active boolean not null default true,
  created_at timestamptz not null,
  updated_at timestamptz not null
);

create table usage.rate_cards (
  id text primary key,
  provider text not null,
  mode text not null,
  increment_ms bigint not null check (increment_ms > 0),
  minimum_ms bigint not null check (minimum_ms >= 0),
  channel_group smallint not null default 1 check (channel_group between 1 and 16),
  round_per text not null check (round_per in ('request', 'session')),
  empty_increments smallint not null default 0,
  -- Billionths of the currency per increment: provider prices are far below a minor unit.
  nano_per_increment bigint not null check (nano_per_increment >= 0),
  currency text not null,
  as_of date not null,
  source text not null,
  effective_from timestamptz not null,
  effective_to timestamptz,
  created_at timestamptz not null
);
create index rate_cards_lookup on usage.rate_cards (provider, mode, effective_from desc);
create unique index rate_cards_once on usage.rate_cards (provider, mode, effective_from);

create table usage.sessions (
  customer_id text not null,
  meter text not null references usage.meters (code),
  session_id text not null,
  channels smallint not null,
  duration_ms bigint not null,
  billed_ms bigint not null,
  cost_ms bigint not null default 0,
  updated_at timestamptz not null,
  primary key (customer_id, meter, session_id)
);

create table usage.meter_events (
  id text primary key,
  -- The caller's own name of the event: unique for ever, per meter and customer.
  event_id text not null,
  customer_id text not null,
  meter text not null references usage.meters (code),
  provider text,
  mode text,
  session_id text,
  duration_ms bigint not null check (duration_ms >= 0),
  channels smallint not null,
  billable_ms bigint not null check (billable_ms >= 0),
  amount bigint not null check (amount >= 0),
  unit text not null,
  -- The ledger's transfer that took the units; null when nothing was to be paid.
  spend_id text,
  slices jsonb not null,
  balance_after bigint not null,
  rate_card_id text references usage.rate_cards (id),
  cost_nano bigint,
  cost_currency text,
  occurred_at timestamptz not null,
  created_at timestamptz not null,
  input_digest bytea not null,
  unique (customer_id, meter, event_id)
);
create index meter_events_customer on usage.meter_events (customer_id, created_at desc, id desc);
create index meter_events_created on usage.meter_events (created_at desc, id desc);
