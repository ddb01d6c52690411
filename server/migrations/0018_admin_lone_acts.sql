-- Corrections and refunds that no second person agreed to, while they count: a day. An act is one row.
create table admin.lone_acts (
  id bigint generated always as identity primary key,
  kind text not null check (kind in ('adjustment', 'refund')),
  measure text not null,
  -- The user who acted, or stands behind the key that did.
  person_id text not null,
  customer_id text not null,
  -- Without its sign: taking and giving do not cancel each other out.
  amount bigint not null check (amount > 0),
  created_at timestamptz not null
);
create index lone_acts_person on admin.lone_acts (person_id, customer_id, kind, measure, created_at);
create index lone_acts_created on admin.lone_acts (created_at);
