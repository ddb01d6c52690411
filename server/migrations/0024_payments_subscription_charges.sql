-- A payment may be a charge of a vendor's subscription beside its plan: asked for by one asker at a time, and
-- again only after the vendor has had time to show what the first one made.
alter table payments.payments
  add column vendor_subscription_id text references payments.vendor_subscriptions (id),
  add column asking_until timestamptz;
