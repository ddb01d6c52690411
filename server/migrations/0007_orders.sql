-- An agreed purchase: lines with frozen price and terms, and the one fulfilment of it.
create schema orders;

create table orders.orders (
  id text primary key,
  customer_id text not null,
  status text not null check (status in ('open', 'fulfilled', 'canceled', 'expired')),
  total bigint not null check (total > 0),
  currency text not null,
  gateway text not null,
  payment_id text,
  return_url text not null,
  receipt_contact jsonb,
  locale text not null default 'en',
  metadata jsonb not null default '{}',
  expires_at timestamptz not null,
  created_at timestamptz not null,
  fulfilled_at timestamptz,
  updated_at timestamptz not null
) with (fillfactor = 80);
create index orders_customer on orders.orders (customer_id, created_at desc, id desc);
create index orders_created on orders.orders (created_at desc, id desc);
create index orders_open on orders.orders (expires_at) where status = 'open';

create table orders.lines (
  id text primary key,
  order_id text not null references orders.orders (id),
  position smallint not null,
  price_id text not null,
  product_id text not null,
  product_version_id text not null,
  name text not null,
  quantity bigint not null check (quantity between 1 and 1000),
  unit_amount bigint not null check (unit_amount > 0),
  amount bigint not null check (amount = unit_amount * quantity),
  -- What the product's version grants, frozen: [{unit, amount, validity_days, priority, source, is_paid}].
  grants jsonb not null,
  unique (order_id, position)
);

-- The database itself refuses a second fulfilment of an order or by a payment.
create table orders.fulfilments (
  order_id text primary key references orders.orders (id),
  payment_id text not null unique,
  created_at timestamptz not null
);

-- What a refund took back, so that a refused refund can be undone to the unit.
create table orders.refund_revocations (
  refund_id text not null,
  customer_id text not null,
  unit text not null,
  grant_id text not null,
  amount bigint not null check (amount >= 0),
  shortfall bigint not null default 0 check (shortfall >= 0),
  undone_at timestamptz,
  created_at timestamptz not null,
  primary key (refund_id, grant_id)
);
