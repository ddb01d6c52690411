-- What the kernel keeps: settings of the installation and remembered answers to requests.
-- kernel.migrations and kernel.function_files are made by the migration runner itself.

create table kernel.settings (
  name text primary key,
  value jsonb not null,
  updated_at timestamptz not null default now()
);

-- One row per (actor, route, key). The row is written in the transaction of its effect, or, where the effect
-- spans the outside world, first as a claim with a short lease and with the id its resource will have.
create table kernel.idempotency_keys (
  actor_id text not null,
  route text not null,
  key text not null,
  input_digest bytea not null,
  resource_id text,
  leased_until timestamptz,
  status smallint,
  answer text,
  created_at timestamptz not null,
  primary key (actor_id, route, key),
  check ((status is null) = (answer is null))
);
create index idempotency_keys_created on kernel.idempotency_keys (created_at);
