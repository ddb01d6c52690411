-- Choice of a gateway and another try; consent to and removal of saved methods; stored reconciliations.

alter table payments.payments
  -- Questions to the vendor that may have made something there; zero: the vendor was certainly not reached.
  add column open_asks int not null default 0 check (open_asks >= 0),
  add column fee_currency text,
  -- What the buyer read and agreed to when he let us keep the method.
  add column consent_text text;

-- Money of a mismatch is kept as it was taken, so that it can be given back whole: it may be more than asked.
alter table payments.payments drop constraint payments_check;
alter table payments.payments add constraint payments_captured_within check (
  captured_amount >= 0 and (captured_amount <= amount or status = 'mismatch'));
create index payments_paid_by on payments.payments (customer_id, succeeded_at desc)
  where succeeded_at is not null;
create index payments_open_charges on payments.payments (saved_method_id)
  where saved_method_id is not null and status in ('pending', 'unknown');

-- Removed: never charged again, from that moment. Forgotten: the vendor has let it go too.
alter table payments.saved_methods
  add column consent_text text,
  add column consent_locale text,
  add column forgotten_at timestamptz,
  add column next_forget_at timestamptz,
  add column forget_attempts int not null default 0;
update payments.saved_methods set next_forget_at = removed_at where removed_at is not null;
create index saved_methods_forget on payments.saved_methods (next_forget_at) where next_forget_at is not null;

-- One comparison of a gateway's books with ours. The same time compared again is the same row.
create table payments.reconciliations (
  id text primary key,
  gateway text not null,
  from_at timestamptz not null,
  to_at timestamptz not null check (to_at > from_at),
  status text not null check (status in ('done', 'failed')),
  -- 'list': both ways. 'one_by_one': ours were asked about; what only the vendor knows is not seen.
  method text check (method in ('list', 'one_by_one')),
  payments_here int not null default 0,
  payments_at_vendor int not null default 0,
  refunds_here int not null default 0,
  refunds_at_vendor int not null default 0,
  error text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (gateway, from_at, to_at)
);
create index reconciliations_created on payments.reconciliations (created_at desc, id desc);

-- A difference, once however often it is found; a person closes it, nothing else does.
create table payments.differences (
  id text primary key,
  gateway text not null,
  kind text not null,
  subject_id text,
  external_id text,
  ours text not null,
  theirs text not null,
  proposed text not null,
  status text not null default 'open' check (status in ('open', 'resolved')),
  note text,
  resolved_by text,
  resolved_at timestamptz,
  created_at timestamptz not null,
  last_found_at timestamptz not null,
  check ((status = 'resolved') = (resolved_at is not null and note is not null and resolved_by is not null))
);
create unique index differences_once on payments.differences
  (gateway, kind, coalesce(subject_id, ''), coalesce(external_id, ''), ours, theirs);
create index differences_open on payments.differences (gateway, created_at) where status = 'open';

-- Which comparison found which difference.
create table payments.findings (
  reconciliation_id text not null references payments.reconciliations (id),
  difference_id text not null references payments.differences (id),
  primary key (reconciliation_id, difference_id)
);
