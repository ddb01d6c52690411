-- What is given to a person once, as digests under a key outside the database: they name nobody, belong to no
-- row about a person, and stay when one is forgotten.
create table identity.benefit_claims (
  benefit text not null check (length(benefit) between 1 and 100),
  digest bytea not null check (octet_length(digest) = 32),
  created_at timestamptz not null,
  primary key (benefit, digest)
);

-- The key of these digests, sealed; the same one for as long as the installation lives.
create table identity.benefit_key (
  is_only boolean primary key default true check (is_only),
  key_sealed text not null,
  created_at timestamptz not null
);

-- Staff look users up by the beginning of an address or a name.
create index users_email_beginning on identity.users (email text_pattern_ops)
  where merged_into is null and erased_at is null;
create index users_name_beginning on identity.users (lower(name) text_pattern_ops)
  where merged_into is null and erased_at is null;
