-- Organizations: several users who share the wallets of one customer.

create table customers.organizations (
  id text primary key,
  name text not null,
  -- Whose wallets the members share: a customer of the organization's own.
  customer_id text not null unique references customers.customers (id),
  created_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  closed_at timestamptz
);
create index organizations_created on customers.organizations (created_at desc, id desc);

create table customers.members (
  id text primary key,
  organization_id text not null references customers.organizations (id),
  user_id text not null references identity.users,
  role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint members_once unique (organization_id, user_id)
);
create index members_user on customers.members (user_id, organization_id);

-- An invitation is a secret link: only its digest is kept, and it works once.
create table customers.invitations (
  id text primary key,
  organization_id text not null references customers.organizations (id),
  role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
  -- To whom the inviter means to send it; who holds the link may accept.
  email text,
  token_digest bytea not null unique check (octet_length(token_digest) = 32),
  invited_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  accepted_at timestamptz,
  accepted_by text,
  revoked_at timestamptz,
  check ((accepted_at is null) = (accepted_by is null)),
  check (accepted_at is null or revoked_at is null)
);
create index invitations_organization on customers.invitations (organization_id, created_at desc, id desc);

-- How much of a unit one member may use in a period of the calendar (UTC), and how much he used in the
-- present one.
create table customers.member_limits (
  member_id text not null references customers.members (id) on delete cascade,
  unit text not null,
  period text not null check (period in ('day', 'month', 'total')),
  amount bigint not null check (amount between 0 and 9007199254740991),
  used bigint not null default 0 check (used between 0 and 9007199254740991),
  -- When the period began that `used` belongs to.
  period_start timestamptz not null,
  updated_at timestamptz not null,
  primary key (member_id, unit)
);
