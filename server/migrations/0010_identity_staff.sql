-- Staff: who of the users may do what for the owner, and what was done.

-- Built-in roles have their permissions in the program, so that a new version can add some; here they have a
-- place to be pointed at. Permissions of the owner's own roles stand here.
create table identity.roles (
  code text primary key check (code ~ '^[a-z][a-z0-9_]{1,39}$'),
  name text not null,
  permissions text[] not null,
  is_built_in boolean not null default false,
  created_by text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz,
  check (not is_built_in or permissions = '{}')
);
insert into identity.roles (code, name, permissions, is_built_in, created_by) values
  ('owner', 'Owner', '{}', true, 'program'),
  ('admin', 'Admin', '{}', true, 'program'),
  ('support', 'Support', '{}', true, 'program'),
  ('finance', 'Finance', '{}', true, 'program'),
  ('developer', 'Developer', '{}', true, 'program'),
  ('read_only', 'Read only', '{}', true, 'program');

-- A user without a row is no member of the staff.
create table identity.staff (
  user_id text primary key references identity.users,
  role text not null references identity.roles (code),
  appointed_by text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index staff_role on identity.staff (role);

-- Who did what, before and after, from where. One chain: each row's hash covers the row and the hash before
-- it.
create table identity.audit_log (
  sequence bigint primary key check (sequence > 0),
  actor_id text not null,
  actor_kind text not null check (actor_kind in ('key', 'user', 'anonymous', 'program')),
  -- The member of staff who did it through the eyes of `actor_id`.
  impersonator_id text,
  -- `noun.past_participle`
  action text not null,
  -- What it was done to.
  subject_id text,
  before jsonb,
  after jsonb,
  reason text,
  address text,
  request_id text,
  created_at timestamptz not null,
  hash bytea not null check (octet_length(hash) = 32)
);
create index audit_log_subject on identity.audit_log (subject_id, sequence desc) where subject_id is not null;
create index audit_log_actor on identity.audit_log (actor_id, sequence desc);
create index audit_log_action on identity.audit_log (action, sequence desc);

-- How long the chain is and where it ends: without it, rows cut off at the end would not be missed.
create table identity.audit_head (
  is_only boolean primary key default true check (is_only),
  sequence bigint not null,
  hash bytea not null check (octet_length(hash) = 32)
);
insert into identity.audit_head (sequence, hash) values (0, decode(repeat('00', 32), 'hex'));

create function identity.refuse_audit_change() returns trigger language plpgsql as $$
begin
  raise exception 'identity.audit_log is append-only' using errcode = 'IE001';
end $$;
create trigger audit_log_append_only before update or delete or truncate on identity.audit_log
  for each statement execute function identity.refuse_audit_change();
create trigger audit_head_kept before delete or truncate on identity.audit_head
  for each statement execute function identity.refuse_audit_change();
revoke update, delete, truncate on identity.audit_log from current_user;
