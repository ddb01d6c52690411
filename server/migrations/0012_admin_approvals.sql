-- Four eyes: what is larger than its limit waits for a second member of staff.
create schema admin;

-- The largest amount one person may do alone, by currency (refunds) or unit (adjustments). No row: no limit.
create table admin.approval_limits (
  kind text not null check (kind in ('adjustment', 'refund')),
  measure text not null,
  amount bigint not null check (amount between 0 and 9007199254740991),
  updated_by text not null,
  updated_at timestamptz not null,
  primary key (kind, measure)
);

create table admin.approvals (
  id text primary key,
  kind text not null check (kind in ('adjustment', 'refund')),
  status text not null check (status in ('pending', 'approved', 'rejected', 'expired')),
  -- What will be done, as the route of its kind takes it.
  input jsonb not null,
  amount bigint not null check (amount <> 0),
  measure text not null,
  -- The id of what it makes, chosen with the request so that carrying it out twice does it once.
  resource_id text not null unique,
  reason text not null,
  requested_by text not null,
  -- The person behind `requested_by`: himself, or whoever made the key.
  requested_by_user text,
  requested_at timestamptz not null,
  expires_at timestamptz not null,
  decided_by text,
  decided_at timestamptz,
  decision_note text,
  done_at timestamptz,
  check ((decided_by is null) = (decided_at is null)),
  check (status in ('pending', 'expired') or decided_by is not null),
  check (decided_by is distinct from requested_by and decided_by is distinct from requested_by_user
    or decided_by is null),
  check (done_at is null or status = 'approved')
);
create index approvals_requested on admin.approvals (requested_at desc, id desc);
create index approvals_pending on admin.approvals (expires_at) where status = 'pending';
