-- People who sign in: users, what they are known by, their devices and sessions, what may be used once, and
-- the keys that sign access tokens. Passwords are kept as argon2id hashes, tokens and codes as digests only.

create table identity.users (
  id text primary key,
  -- Lower-cased. Unproved while email_verified_at is null.
  email text constraint users_email_form check (email = lower(email) and length(email) between 3 and 254),
  email_verified_at timestamptz,
  password_hash text,
  name text check (length(name) <= 200),
  locale text check (length(locale) <= 35),
  -- The user's own customer; of the module above, so without a foreign key.
  customer_id text,
  is_disabled boolean not null default false,
  -- The user this one turned out to be.
  merged_into text references identity.users,
  erased_at timestamptz,
  password_changed_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create unique index users_email on identity.users (email) where email is not null;
create unique index users_customer on identity.users (customer_id) where customer_id is not null;
create index users_created on identity.users (created_at desc, id desc);

-- Who somebody is at a vendor: proved by the vendor's signature or by its own answer to us.
create table identity.identities (
  id text primary key,
  user_id text not null references identity.users,
  provider text not null check (provider in ('telegram', 'google', 'vk')),
  -- The vendor's own id of the person, as text.
  subject text not null check (length(subject) between 1 and 255),
  -- What the vendor said of the person when it was last asked: name, username, e-mail.
  facts jsonb not null default '{}',
  created_at timestamptz not null,
  last_used_at timestamptz not null,
  constraint identities_subject unique (provider, subject)
);
create index identities_user on identity.identities (user_id);

create table identity.devices (
  user_id text not null references identity.users,
  device_id text not null check (length(device_id) between 1 and 200),
  name text,
  first_seen_at timestamptz not null,
  last_seen_at timestamptz not null,
  primary key (user_id, device_id)
);

create table identity.sessions (
  id text primary key,
  user_id text not null references identity.users,
  -- bearer: access and refresh tokens. cookie: one opaque cookie of a browser.
  mode text not null check (mode in ('bearer', 'cookie')),
  cookie_digest bytea check (octet_length(cookie_digest) = 32),
  device_id text,
  -- What the client calls itself, for the person to recognise it by.
  device_name text,
  -- The address, of IPv6 its /64.
  network text not null,
  -- How the person was proved: password, email, telegram, google, vk, totp.
  methods text[] not null,
  -- The member of staff who looks through this user's eyes.
  impersonator_id text references identity.users,
  -- How often the refresh token was exchanged.
  generation int not null default 0,
  created_at timestamptz not null,
  last_used_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz,
  ended_because text,
  constraint sessions_cookie unique (cookie_digest),
  constraint sessions_mode_fits check ((mode = 'cookie') = (cookie_digest is not null)),
  constraint sessions_end_has_reason check ((ended_at is null) = (ended_because is null))
);
create index sessions_open on identity.sessions (user_id, id) where ended_at is null;
create unique index sessions_device on identity.sessions (user_id, device_id)
  where ended_at is null and device_id is not null and impersonator_id is null;

-- Every refresh token of a session, the used ones too: one that comes back was stolen.
create table identity.refresh_tokens (
  digest bytea primary key check (octet_length(digest) = 32),
  session_id text not null references identity.sessions,
  generation int not null,
  -- Together with the token and a key outside the database it makes the successor.
  salt bytea not null check (octet_length(salt) = 16),
  created_at timestamptz not null,
  used_at timestamptz,
  constraint refresh_tokens_generation unique (session_id, generation)
);
create index refresh_tokens_used on identity.refresh_tokens (used_at) where used_at is not null;

-- What may be used once and not for long: links in mails, second steps of a sign-in, codes for the bot,
-- states of a sign-in at a vendor, and vendor's proofs that were presented already.
create table identity.one_time_proofs (
  digest bytea primary key check (octet_length(digest) = 32),
  kind text not null,
  user_id text references identity.users,
  -- Whom the proof is about where there is no user yet, e.g. an e-mail address.
  subject text,
  facts jsonb not null default '{}',
  attempts int not null default 0,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index one_time_proofs_user on identity.one_time_proofs (user_id, kind) where user_id is not null;
create index one_time_proofs_subject on identity.one_time_proofs (subject, kind) where subject is not null;
create index one_time_proofs_expiry on identity.one_time_proofs (expires_at);

create table identity.totp_secrets (
  user_id text primary key references identity.users,
  -- Sealed under a key outside the database, bound to this user.
  secret_sealed text not null,
  confirmed_at timestamptz,
  -- The 30 seconds whose code was used last; it and all before are used up.
  last_step bigint not null default 0,
  -- Digests of recovery codes not yet used.
  recovery_digests bytea[] not null default '{}',
  created_at timestamptz not null
);

create table identity.signing_keys (
  kid text primary key,
  algorithm text not null check (algorithm in ('EdDSA')),
  public_jwk jsonb not null,
  private_sealed text not null,
  created_at timestamptz not null
);

-- Attempts by the generic cell rate algorithm: per key the moment when its allowance would be full again.
create table identity.attempts (
  key_digest bytea primary key check (octet_length(key_digest) = 32),
  full_at timestamptz not null
) with (fillfactor = 70);
