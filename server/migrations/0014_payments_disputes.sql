-- Money contested by the payer at the vendor. The units go when it is opened and come back when it is won.
create table payments.disputes (
  id text primary key,
  payment_id text not null references payments.payments (id),
  external_id text not null,
  status text not null check (status in ('open', 'won', 'lost')),
  amount bigint not null check (amount > 0),
  currency text not null,
  reason text not null,
  created_at timestamptz not null,
  closed_at timestamptz,
  updated_at timestamptz not null,
  check ((status = 'open') = (closed_at is null))
);
create unique index disputes_external on payments.disputes (payment_id, external_id);
create index disputes_created on payments.disputes (created_at desc, id desc);
