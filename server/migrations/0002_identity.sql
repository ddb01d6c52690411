-- Who may call: secret API keys, and the one-time link that makes the first of them.
create schema identity;

-- Only the digest of a secret is kept. A key is never deleted: what it made names it.
create table identity.api_keys (
  id text primary key,
  name text not null,
  -- How the secret begins and ends, for people to recognise it by.
  hint text not null,
  secret_digest bytea not null check (octet_length(secret_digest) = 32),
  mode text not null check (mode in ('sandbox', 'live')),
  -- `*` holds every scope.
  scopes text[] not null check (cardinality(scopes) > 0),
  -- Null is without a limit.
  rate_limit_per_minute int check (rate_limit_per_minute > 0),
  -- The actor that made it, or `setup`, or `command`.
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  -- Written in batches: may be up to a minute behind.
  last_used_at timestamptz,
  constraint api_keys_secret_digest unique (secret_digest)
);

create table identity.setup_tokens (
  digest bytea primary key check (octet_length(digest) = 32),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
