-- Outgoing webhooks: endpoints of the owner's app, what is told, and each delivery of it.
create schema notifications;

create table notifications.webhook_endpoints (
  id text primary key,
  url text not null check (length(url) between 1 and 2000),
  description text not null check (length(description) <= 500),
  -- '*' stands for every type, also those that come later.
  event_types text[] not null check (cardinality(event_types) between 1 and 100),
  -- Sealed by a key outside of the database.
  secret text,
  previous_secret text,
  previous_secret_expires_at timestamptz,
  -- Since when every delivery failed; null after a success.
  failing_since timestamptz,
  disabled_at timestamptz,
  disabled_reason text check (disabled_reason in ('owner', 'gone', 'failing')),
  -- A deleted endpoint keeps its deliveries and loses its secrets.
  deleted_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  check ((disabled_at is null) = (disabled_reason is null)),
  check ((previous_secret is null) = (previous_secret_expires_at is null)),
  check ((secret is null) = (deleted_at is not null))
);
create index webhook_endpoints_listed on notifications.webhook_endpoints (created_at desc, id desc)
  where deleted_at is null;

create table notifications.webhook_events (
  id text primary key,
  type text not null,
  -- The bytes that are signed and sent: the same at every attempt.
  body text not null,
  created_at timestamptz not null
);
create index webhook_events_old on notifications.webhook_events (created_at);

create table notifications.webhook_deliveries (
  id text primary key,
  event_id text not null references notifications.webhook_events on delete cascade,
  endpoint_id text not null references notifications.webhook_endpoints,
  event_type text not null,
  status text not null check (status in ('pending', 'sending', 'succeeded', 'failed', 'canceled')),
  -- Counts up for ever and names an attempt: an answer to an attempt that is not the last one is void.
  attempts int not null default 0 check (attempts >= 0),
  attempts_left int not null check (attempts_left >= 0),
  -- Of 'pending' the next attempt, of 'sending' the end of the lease.
  next_attempt_at timestamptz,
  last_attempt_at timestamptz,
  result text check (result in ('succeeded', 'failed', 'timeout', 'refused')),
  status_code int check (status_code between 100 and 999),
  created_at timestamptz not null,
  check ((status in ('pending', 'sending')) = (next_attempt_at is not null))
) with (fillfactor = 80);
create index webhook_deliveries_due on notifications.webhook_deliveries (endpoint_id, next_attempt_at, id)
  where status in ('pending', 'sending');
create index webhook_deliveries_listed on notifications.webhook_deliveries (created_at desc, id desc);
create index webhook_deliveries_of_endpoint
  on notifications.webhook_deliveries (endpoint_id, created_at desc, id desc);
create index webhook_deliveries_of_event on notifications.webhook_deliveries (event_id);
