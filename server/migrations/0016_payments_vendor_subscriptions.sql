-- What one link or one vendor's subscription takes more than once: charges that are payments of their own,
-- and the subscriptions vendors keep themselves.
alter table payments.payments
  -- The payment whose link or subscription this charge was made with.
  add column repeats_payment_id text references payments.payments (id),
  add column repeat_kind text check (repeat_kind in ('paid_again', 'renewal')),
  -- The vendor charges again after this long, by itself.
  add column subscription_period_seconds int check (subscription_period_seconds > 0),
  add constraint payments_repeat check ((repeats_payment_id is null) = (repeat_kind is null));
create index payments_repeats on payments.payments (repeats_payment_id) where repeats_payment_id is not null;

create table payments.vendor_subscriptions (
  id text primary key,
  customer_id text not null,
  gateway text not null,
  external_id text not null,
  product_code text,
  -- Our payment that began it, where we asked for it.
  payment_id text references payments.payments (id),
  is_test boolean not null,
  -- active: renews. canceled: usable until it ends. expired: over.
  status text not null check (status in ('active', 'canceled', 'expired')),
  will_renew boolean not null,
  is_trial boolean not null default false,
  amount bigint check (amount >= 0),
  currency text,
  started_at timestamptz,
  expires_at timestamptz,
  -- What the last notification said, in the vendor's words.
  facts jsonb not null default '{}',
  -- When the vendor said what stands here; an older word changes nothing.
  told_at timestamptz not null,
  -- When the vendor is asked again; null when nothing more is expected.
  next_check_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (gateway, external_id),
  check ((status = 'active') <= will_renew)
) with (fillfactor = 80);
create index vendor_subscriptions_customer on payments.vendor_subscriptions (customer_id, created_at desc,
  id desc);
create index vendor_subscriptions_created on payments.vendor_subscriptions (created_at desc, id desc);
create index vendor_subscriptions_due on payments.vendor_subscriptions (next_check_at)
  where next_check_at is not null;

create index vendor_subscriptions_payment on payments.vendor_subscriptions (payment_id)
  where payment_id is not null;

-- What was bought in a vendor's own app and given here. The row is what makes each period of each purchase
-- one grant, whichever way it is told: as a purchase, as a subscription or as a notification.
create table payments.vendor_periods (
  gateway text not null,
  -- The purchase or subscription at the vendor.
  external_id text not null,
  -- 'first', or what the vendor calls a later one.
  period_id text not null,
  created_at timestamptz not null,
  primary key (gateway, external_id, period_id)
);
