-- Payments, refunds, saved methods and the inbox of vendors' notifications.
create schema payments;

create table payments.payments (
  id text primary key,
  -- For vendors that want an integer order number; below 2^31.
  number int generated always as identity unique,
  order_id text not null,
  customer_id text not null,
  gateway text not null,
  is_test boolean not null,
  status text not null check (status in ('pending', 'requires_action', 'authorized', 'unknown', 'expired',
    'failed', 'canceled', 'mismatch', 'succeeded', 'partially_refunded', 'refunded')),
  amount bigint not null check (amount > 0),
  currency text not null,
  captured_amount bigint not null default 0 check (captured_amount between 0 and amount),
  refunded_amount bigint not null default 0 check (refunded_amount between 0 and captured_amount),
  fee bigint,
  external_id text,
  checkout_url text,
  description text not null,
  return_url text not null,
  may_capture_now boolean not null default true,
  has_save_consent boolean not null default false,
  method text,
  saved_method_id text,
  locale text not null default 'en',
  telegram_id bigint,
  email text,
  receipt jsonb,
  failure_reason text,
  -- Why a person has to look: what the vendor told differs from what we asked.
  mismatch_reason text,
  mismatch jsonb,
  expires_at timestamptz not null,
  -- When the janitor asks the vendor next; null when there is nothing left to ask.
  next_check_at timestamptz,
  check_attempts int not null default 0,
  created_at timestamptz not null,
  authorized_at timestamptz,
  succeeded_at timestamptz,
  finished_at timestamptz,
  updated_at timestamptz not null,
  check ((status = 'mismatch') = (mismatch_reason is not null) or status <> 'mismatch'),
  check (status not in ('succeeded', 'partially_refunded', 'refunded') or captured_amount > 0)
) with (fillfactor = 70);
create unique index payments_external on payments.payments (gateway, external_id)
  where external_id is not null;
create index payments_order on payments.payments (order_id);
create index payments_customer on payments.payments (customer_id, created_at desc, id desc);
create index payments_created on payments.payments (created_at desc, id desc);
create index payments_due on payments.payments (next_check_at) where next_check_at is not null;
create index payments_review on payments.payments (updated_at) where status = 'mismatch';

create table payments.refunds (
  id text primary key,
  payment_id text not null references payments.payments (id),
  status text not null check (status in ('pending', 'unknown', 'succeeded', 'failed')),
  amount bigint not null check (amount > 0),
  currency text not null,
  reason text not null,
  -- 'api': we asked the vendor. 'vendor': made in the vendor's cabinet and told to us.
  origin text not null check (origin in ('api', 'vendor')),
  is_full boolean not null,
  external_id text,
  receipt jsonb,
  -- How the amount came about, line by line, as shown to people.
  breakdown jsonb,
  failure_reason text,
  requested_by text not null,
  next_check_at timestamptz,
  check_attempts int not null default 0,
  created_at timestamptz not null,
  finished_at timestamptz,
  updated_at timestamptz not null
);
create index refunds_payment on payments.refunds (payment_id, created_at);
create index refunds_created on payments.refunds (created_at desc, id desc);
create index refunds_due on payments.refunds (next_check_at) where next_check_at is not null;
create unique index refunds_external on payments.refunds (payment_id, external_id)
  where external_id is not null;

create table payments.saved_methods (
  id text primary key,
  customer_id text not null,
  gateway text not null,
  external_id text not null,
  customer_external_id text,
  kind text not null,
  title text not null,
  is_test boolean not null,
  consented_at timestamptz not null,
  expires_at timestamptz,
  removed_at timestamptz,
  created_at timestamptz not null
);
create unique index saved_methods_external on payments.saved_methods (gateway, external_id, customer_id);
create index saved_methods_customer on payments.saved_methods (customer_id) where removed_at is null;

-- A notification as it came. The row is the job: the worker claims, resolves and closes it.
create table payments.inbox (
  id bigint generated always as identity primary key,
  gateway text not null,
  external_event_id text not null,
  type text not null,
  trust text not null check (trust in ('signed', 'hint')),
  event jsonb not null,
  raw_body bytea,
  remote_address text,
  status text not null default 'received' check (status in ('received', 'handling', 'handled', 'failed')),
  outcome text,
  repeats int not null default 0,
  attempts int not null default 0,
  next_attempt_at timestamptz not null,
  error text,
  received_at timestamptz not null,
  handled_at timestamptz,
  unique (gateway, external_event_id)
) with (fillfactor = 70);
create index inbox_open on payments.inbox (next_attempt_at, id) where status in ('received', 'handling');
create index inbox_failed on payments.inbox (id) where status = 'failed';

-- What the owner set for a gateway; the secret part is sealed, its key is not in this database.
create table payments.gateway_settings (
  gateway text primary key,
  is_enabled boolean not null default true,
  position int not null default 100,
  sealed text not null,
  updated_at timestamptz not null
);
