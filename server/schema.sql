-- The schema as all migrations and function files together leave it.
-- For reading, and for seeing in a diff what a migration changes; databases are made by the migrations alone.
-- Made by `npm run gen schema`.

-- ----------------------------------------------------------------------------------------------------
create schema admin;

create table admin.approval_limits (
  kind text not null,
  measure text not null,
  amount bigint not null,
  updated_by text not null,
  updated_at timestamp with time zone not null,
  constraint approval_limits_pkey PRIMARY KEY (kind, measure),
  constraint approval_limits_amount_check CHECK (((amount >= 0) AND (amount <= '9007199254740991'::bigint))),
  constraint approval_limits_kind_check CHECK ((kind = ANY (ARRAY['adjustment'::text, 'refund'::text])))
);

create table admin.approvals (
  id text not null,
  kind text not null,
  status text not null,
  input jsonb not null,
  amount bigint not null,
  measure text not null,
  resource_id text not null,
  reason text not null,
  requested_by text not null,
  requested_by_user text,
  requested_at timestamp with time zone not null,
  expires_at timestamp with time zone not null,
  decided_by text,
  decided_at timestamp with time zone,
  decision_note text,
  done_at timestamp with time zone,
  constraint approvals_pkey PRIMARY KEY (id),
  constraint approvals_resource_id_key UNIQUE (resource_id),
  constraint approvals_amount_check CHECK ((amount <> 0)),
  constraint approvals_check CHECK (((decided_by IS NULL) = (decided_at IS NULL))),
  constraint approvals_check1 CHECK (((status = ANY (ARRAY['pending'::text, 'expired'::text])) OR (decided_by IS NOT NULL))),
  constraint approvals_check2 CHECK ((((decided_by IS DISTINCT FROM requested_by) AND (decided_by IS DISTINCT FROM requested_by_user)) OR (decided_by IS NULL))),
  constraint approvals_check3 CHECK (((done_at IS NULL) OR (status = 'approved'::text))),
  constraint approvals_kind_check CHECK ((kind = ANY (ARRAY['adjustment'::text, 'refund'::text]))),
  constraint approvals_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'approved'::text, 'rejected'::text, 'expired'::text])))
);
CREATE INDEX approvals_pending ON admin.approvals USING btree (expires_at) WHERE (status = 'pending'::text);
CREATE INDEX approvals_requested ON admin.approvals USING btree (requested_at DESC, id DESC);

create table admin.lone_acts (
  id bigint not null generated always as identity,
  kind text not null,
  measure text not null,
  person_id text not null,
  customer_id text not null,
  amount bigint not null,
  created_at timestamp with time zone not null,
  constraint lone_acts_pkey PRIMARY KEY (id),
  constraint lone_acts_amount_check CHECK ((amount > 0)),
  constraint lone_acts_kind_check CHECK ((kind = ANY (ARRAY['adjustment'::text, 'refund'::text])))
);
CREATE INDEX lone_acts_created ON admin.lone_acts USING btree (created_at);
CREATE INDEX lone_acts_person ON admin.lone_acts USING btree (person_id, customer_id, kind, measure, created_at);

-- ----------------------------------------------------------------------------------------------------
create schema catalog;

create table catalog.prices (
  id text not null,
  product_id text not null,
  currency text not null,
  amount bigint not null,
  is_active boolean not null default true,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null,
  deactivated_at timestamp with time zone,
  constraint prices_pkey PRIMARY KEY (id),
  constraint prices_amount_check CHECK (((amount >= 1) AND (amount <= '9007199254740991'::bigint))),
  constraint prices_check CHECK ((is_active = (deactivated_at IS NULL))),
  constraint prices_currency_check CHECK ((currency ~ '^[A-Z]{3,5}$'::text)),
  constraint prices_product_id_fkey FOREIGN KEY (product_id) REFERENCES catalog.products(id)
);
CREATE UNIQUE INDEX prices_active ON catalog.prices USING btree (product_id, currency) WHERE is_active;
CREATE INDEX prices_created ON catalog.prices USING btree (created_at DESC, id DESC);
CREATE INDEX prices_product ON catalog.prices USING btree (product_id, created_at DESC, id DESC);
CREATE TRIGGER prices_immutable BEFORE UPDATE ON catalog.prices FOR EACH ROW WHEN (((((((old.id IS DISTINCT FROM new.id) OR (old.product_id IS DISTINCT FROM new.product_id)) OR (old.currency IS DISTINCT FROM new.currency)) OR (old.amount IS DISTINCT FROM new.amount)) OR (old.created_at IS DISTINCT FROM new.created_at)) OR (new.is_active AND (NOT old.is_active)))) EXECUTE FUNCTION catalog.refuse_change();
CREATE TRIGGER prices_kept BEFORE DELETE ON catalog.prices FOR EACH ROW EXECUTE FUNCTION catalog.refuse_change();

create table catalog.product_grants (
  product_version_id text not null,
  "position" smallint not null,
  unit text not null,
  amount bigint not null,
  validity_days integer,
  priority smallint not null,
  source text not null,
  is_paid boolean not null,
  constraint product_grants_pkey PRIMARY KEY (product_version_id, "position"),
  constraint product_grants_amount_check CHECK (((amount >= 1) AND (amount <= '9007199254740991'::bigint))),
  constraint product_grants_check CHECK (((source = 'purchase'::text) OR (NOT is_paid))),
  constraint product_grants_position_check CHECK (("position" >= 0)),
  constraint product_grants_priority_check CHECK ((priority >= 0)),
  constraint product_grants_source_check CHECK ((source = ANY (ARRAY['purchase'::text, 'bonus'::text]))),
  constraint product_grants_validity_days_check CHECK ((validity_days > 0)),
  constraint product_grants_product_version_id_fkey FOREIGN KEY (product_version_id) REFERENCES catalog.product_versions(id),
  constraint product_grants_unit_fkey FOREIGN KEY (unit) REFERENCES ledger.units(code)
);
CREATE TRIGGER product_grants_immutable BEFORE DELETE OR UPDATE ON catalog.product_grants FOR EACH ROW EXECUTE FUNCTION catalog.refuse_change();

create table catalog.product_versions (
  id text not null,
  product_id text not null,
  version integer not null,
  created_at timestamp with time zone not null,
  constraint product_versions_pkey PRIMARY KEY (id),
  constraint product_versions_product_id_version_key UNIQUE (product_id, version),
  constraint product_versions_version_check CHECK ((version > 0)),
  constraint product_versions_product_id_fkey FOREIGN KEY (product_id) REFERENCES catalog.products(id)
);
CREATE TRIGGER product_versions_immutable BEFORE DELETE OR UPDATE ON catalog.product_versions FOR EACH ROW EXECUTE FUNCTION catalog.refuse_change();

create table catalog.products (
  id text not null,
  key text not null,
  kind text not null,
  version integer not null default 1,
  name text not null,
  names jsonb not null default '{}'::jsonb,
  description text,
  descriptions jsonb not null default '{}'::jsonb,
  "position" integer not null default 0,
  visible_from timestamp with time zone,
  visible_until timestamp with time zone,
  is_active boolean not null default true,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint products_pkey PRIMARY KEY (id),
  constraint products_key UNIQUE (key),
  constraint products_check CHECK ((visible_from < visible_until)),
  constraint products_kind_check CHECK ((kind = 'pack'::text)),
  constraint products_version_check CHECK ((version > 0))
);
CREATE INDEX products_created ON catalog.products USING btree (created_at DESC, id DESC);
CREATE INDEX products_shop ON catalog.products USING btree ("position", id) WHERE is_active;

CREATE OR REPLACE FUNCTION catalog.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception '%.% is never changed: make a new version or price', tg_table_schema, tg_table_name
    using errcode = 'restrict_violation';
end $function$;

-- ----------------------------------------------------------------------------------------------------
create schema customers;

create table customers.customers (
  id text not null,
  external_id text,
  telegram_id bigint,
  email text,
  phone text,
  name text,
  locale text,
  country text,
  metadata jsonb not null default '{}'::jsonb,
  search tsvector not null,
  merged_into text,
  erased_at timestamp with time zone,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint customers_pkey PRIMARY KEY (id),
  constraint customers_external_id UNIQUE (external_id),
  constraint customers_telegram_id UNIQUE (telegram_id),
  constraint customers_check CHECK ((merged_into <> id)),
  constraint customers_country_check CHECK ((country ~ '^[A-Z]{2}$'::text)),
  constraint customers_email_check CHECK ((email = lower((email COLLATE "C")))),
  constraint customers_telegram_id_check CHECK ((telegram_id > 0)),
  constraint customers_merged_into_fkey FOREIGN KEY (merged_into) REFERENCES customers.customers(id)
);
CREATE INDEX customers_created ON customers.customers USING btree (created_at DESC, id DESC);
CREATE INDEX customers_email ON customers.customers USING btree (email) WHERE (email IS NOT NULL);
CREATE INDEX customers_merged_into ON customers.customers USING btree (merged_into) WHERE (merged_into IS NOT NULL);
CREATE INDEX customers_search ON customers.customers USING gin (search);

create table customers.invitations (
  id text not null,
  organization_id text not null,
  role text not null,
  email text,
  token_digest bytea not null,
  invited_by text not null,
  created_at timestamp with time zone not null,
  expires_at timestamp with time zone not null,
  accepted_at timestamp with time zone,
  accepted_by text,
  revoked_at timestamp with time zone,
  constraint invitations_pkey PRIMARY KEY (id),
  constraint invitations_token_digest_key UNIQUE (token_digest),
  constraint invitations_check CHECK (((accepted_at IS NULL) = (accepted_by IS NULL))),
  constraint invitations_check1 CHECK (((accepted_at IS NULL) OR (revoked_at IS NULL))),
  constraint invitations_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text, 'viewer'::text]))),
  constraint invitations_token_digest_check CHECK ((octet_length(token_digest) = 32)),
  constraint invitations_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES customers.organizations(id)
);
CREATE INDEX invitations_organization ON customers.invitations USING btree (organization_id, created_at DESC, id DESC);

create table customers.member_limits (
  member_id text not null,
  unit text not null,
  period text not null,
  amount bigint not null,
  used bigint not null default 0,
  period_start timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint member_limits_pkey PRIMARY KEY (member_id, unit),
  constraint member_limits_amount_check CHECK (((amount >= 0) AND (amount <= '9007199254740991'::bigint))),
  constraint member_limits_period_check CHECK ((period = ANY (ARRAY['day'::text, 'month'::text, 'total'::text]))),
  constraint member_limits_used_check CHECK (((used >= 0) AND (used <= '9007199254740991'::bigint))),
  constraint member_limits_member_id_fkey FOREIGN KEY (member_id) REFERENCES customers.members(id) ON DELETE CASCADE
);

create table customers.members (
  id text not null,
  organization_id text not null,
  user_id text not null,
  role text not null,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint members_pkey PRIMARY KEY (id),
  constraint members_once UNIQUE (organization_id, user_id),
  constraint members_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text, 'viewer'::text]))),
  constraint members_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES customers.organizations(id),
  constraint members_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users(id)
);
CREATE INDEX members_user ON customers.members USING btree (user_id, organization_id);

create table customers.organizations (
  id text not null,
  name text not null,
  customer_id text not null,
  created_by text not null,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  closed_at timestamp with time zone,
  constraint organizations_pkey PRIMARY KEY (id),
  constraint organizations_customer_id_key UNIQUE (customer_id),
  constraint organizations_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers.customers(id)
);
CREATE INDEX organizations_created ON customers.organizations USING btree (created_at DESC, id DESC);

-- ----------------------------------------------------------------------------------------------------
create schema identity;

create table identity.api_keys (
  id text not null,
  name text not null,
  hint text not null,
  secret_digest bytea not null,
  mode text not null,
  scopes text[] not null,
  rate_limit_per_minute integer,
  created_by text not null,
  created_at timestamp with time zone not null,
  expires_at timestamp with time zone,
  revoked_at timestamp with time zone,
  last_used_at timestamp with time zone,
  constraint api_keys_pkey PRIMARY KEY (id),
  constraint api_keys_secret_digest UNIQUE (secret_digest),
  constraint api_keys_mode_check CHECK ((mode = ANY (ARRAY['sandbox'::text, 'live'::text]))),
  constraint api_keys_rate_limit_per_minute_check CHECK ((rate_limit_per_minute > 0)),
  constraint api_keys_scopes_check CHECK ((cardinality(scopes) > 0)),
  constraint api_keys_secret_digest_check CHECK ((octet_length(secret_digest) = 32))
);

create table identity.attempts (
  key_digest bytea not null,
  full_at timestamp with time zone not null,
  constraint attempts_pkey PRIMARY KEY (key_digest),
  constraint attempts_key_digest_check CHECK ((octet_length(key_digest) = 32))
) with (fillfactor=70);

create table identity.audit_head (
  is_only boolean not null default true,
  sequence bigint not null,
  hash bytea not null,
  constraint audit_head_pkey PRIMARY KEY (is_only),
  constraint audit_head_hash_check CHECK ((octet_length(hash) = 32)),
  constraint audit_head_is_only_check CHECK (is_only)
);
CREATE TRIGGER audit_head_kept BEFORE DELETE OR TRUNCATE ON identity.audit_head FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_audit_change();

create table identity.audit_log (
  sequence bigint not null,
  actor_id text not null,
  actor_kind text not null,
  impersonator_id text,
  action text not null,
  subject_id text,
  before jsonb,
  after jsonb,
  reason text,
  address text,
  request_id text,
  created_at timestamp with time zone not null,
  hash bytea not null,
  constraint audit_log_pkey PRIMARY KEY (sequence),
  constraint audit_log_actor_kind_check CHECK ((actor_kind = ANY (ARRAY['key'::text, 'user'::text, 'anonymous'::text, 'program'::text]))),
  constraint audit_log_hash_check CHECK ((octet_length(hash) = 32)),
  constraint audit_log_sequence_check CHECK ((sequence > 0))
);
CREATE INDEX audit_log_action ON identity.audit_log USING btree (action, sequence DESC);
CREATE INDEX audit_log_actor ON identity.audit_log USING btree (actor_id, sequence DESC);
CREATE INDEX audit_log_subject ON identity.audit_log USING btree (subject_id, sequence DESC) WHERE (subject_id IS NOT NULL);
CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON identity.audit_log FOR EACH STATEMENT EXECUTE FUNCTION identity.refuse_audit_change();
-- privileges: kopilka=arxtm/kopilka

create table identity.benefit_claims (
  benefit text not null,
  digest bytea not null,
  created_at timestamp with time zone not null,
  constraint benefit_claims_pkey PRIMARY KEY (benefit, digest),
  constraint benefit_claims_benefit_check CHECK (((length(benefit) >= 1) AND (length(benefit) <= 100))),
  constraint benefit_claims_digest_check CHECK ((octet_length(digest) = 32))
);
CREATE INDEX benefit_claims_digest ON identity.benefit_claims USING btree (digest);

create table identity.benefit_key (
  is_only boolean not null default true,
  key_sealed text not null,
  created_at timestamp with time zone not null,
  constraint benefit_key_pkey PRIMARY KEY (is_only),
  constraint benefit_key_is_only_check CHECK (is_only)
);

create table identity.devices (
  user_id text not null,
  device_id text not null,
  name text,
  first_seen_at timestamp with time zone not null,
  last_seen_at timestamp with time zone not null,
  constraint devices_pkey PRIMARY KEY (user_id, device_id),
  constraint devices_device_id_check CHECK (((length(device_id) >= 1) AND (length(device_id) <= 200))),
  constraint devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users(id)
);

create table identity.identities (
  id text not null,
  user_id text not null,
  provider text not null,
  subject text not null,
  facts jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null,
  last_used_at timestamp with time zone not null,
  constraint identities_pkey PRIMARY KEY (id),
  constraint identities_subject UNIQUE (provider, subject),
  constraint identities_provider_check CHECK ((provider = ANY (ARRAY['telegram'::text, 'google'::text, 'vk'::text]))),
  constraint identities_subject_check CHECK (((length(subject) >= 1) AND (length(subject) <= 255))),
  constraint identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users(id)
);
CREATE INDEX identities_user ON identity.identities USING btree (user_id);

create table identity.one_time_proofs (
  digest bytea not null,
  kind text not null,
  user_id text,
  subject text,
  facts jsonb not null default '{}'::jsonb,
  attempts integer not null default 0,
  created_at timestamp with time zone not null,
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  constraint one_time_proofs_pkey PRIMARY KEY (digest),
  constraint one_time_proofs_digest_check CHECK ((octet_length(digest) = 32)),
  constraint one_time_proofs_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users(id)
);
CREATE INDEX one_time_proofs_expiry ON identity.one_time_proofs USING btree (expires_at);
CREATE INDEX one_time_proofs_subject ON identity.one_time_proofs USING btree (subject, kind) WHERE (subject IS NOT NULL);
CREATE INDEX one_time_proofs_user ON identity.one_time_proofs USING btree (user_id, kind) WHERE (user_id IS NOT NULL);

create table identity.refresh_tokens (
  digest bytea not null,
  session_id text not null,
  generation integer not null,
  salt bytea not null,
  created_at timestamp with time zone not null,
  used_at timestamp with time zone,
  constraint refresh_tokens_pkey PRIMARY KEY (digest),
  constraint refresh_tokens_generation UNIQUE (session_id, generation),
  constraint refresh_tokens_digest_check CHECK ((octet_length(digest) = 32)),
  constraint refresh_tokens_salt_check CHECK ((octet_length(salt) = 16)),
  constraint refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES identity.sessions(id)
);
CREATE INDEX refresh_tokens_used ON identity.refresh_tokens USING btree (used_at) WHERE (used_at IS NOT NULL);

create table identity.roles (
  code text not null,
  name text not null,
  permissions text[] not null,
  is_built_in boolean not null default false,
  created_by text not null,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone,
  constraint roles_pkey PRIMARY KEY (code),
  constraint roles_check CHECK (((NOT is_built_in) OR (permissions = '{}'::text[]))),
  constraint roles_code_check CHECK ((code ~ '^[a-z][a-z0-9_]{1,39}$'::text))
);

create table identity.sessions (
  id text not null,
  user_id text not null,
  mode text not null,
  cookie_digest bytea,
  device_id text,
  device_name text,
  network text not null,
  methods text[] not null,
  impersonator_id text,
  generation integer not null default 0,
  created_at timestamp with time zone not null,
  last_used_at timestamp with time zone not null,
  expires_at timestamp with time zone not null,
  ended_at timestamp with time zone,
  ended_because text,
  constraint sessions_pkey PRIMARY KEY (id),
  constraint sessions_cookie UNIQUE (cookie_digest),
  constraint sessions_cookie_digest_check CHECK ((octet_length(cookie_digest) = 32)),
  constraint sessions_end_has_reason CHECK (((ended_at IS NULL) = (ended_because IS NULL))),
  constraint sessions_mode_check CHECK ((mode = ANY (ARRAY['bearer'::text, 'cookie'::text]))),
  constraint sessions_mode_fits CHECK (((mode = 'cookie'::text) = (cookie_digest IS NOT NULL))),
  constraint sessions_impersonator_id_fkey FOREIGN KEY (impersonator_id) REFERENCES identity.users(id),
  constraint sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users(id)
);
CREATE UNIQUE INDEX sessions_device ON identity.sessions USING btree (user_id, device_id) WHERE ((ended_at IS NULL) AND (device_id IS NOT NULL) AND (impersonator_id IS NULL));
CREATE INDEX sessions_open ON identity.sessions USING btree (user_id, id) WHERE (ended_at IS NULL);

create table identity.setup_tokens (
  digest bytea not null,
  created_at timestamp with time zone not null,
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  constraint setup_tokens_pkey PRIMARY KEY (digest),
  constraint setup_tokens_digest_check CHECK ((octet_length(digest) = 32))
);

create table identity.signing_keys (
  kid text not null,
  algorithm text not null,
  public_jwk jsonb not null,
  private_sealed text not null,
  created_at timestamp with time zone not null,
  constraint signing_keys_pkey PRIMARY KEY (kid),
  constraint signing_keys_algorithm_check CHECK ((algorithm = 'EdDSA'::text))
);

create table identity.staff (
  user_id text not null,
  role text not null,
  appointed_by text not null,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint staff_pkey PRIMARY KEY (user_id),
  constraint staff_role_fkey FOREIGN KEY (role) REFERENCES identity.roles(code),
  constraint staff_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users(id)
);
CREATE INDEX staff_role ON identity.staff USING btree (role);

create table identity.totp_secrets (
  user_id text not null,
  secret_sealed text not null,
  confirmed_at timestamp with time zone,
  last_step bigint not null default 0,
  recovery_digests bytea[] not null default '{}'::bytea[],
  created_at timestamp with time zone not null,
  constraint totp_secrets_pkey PRIMARY KEY (user_id),
  constraint totp_secrets_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users(id)
);

create table identity.users (
  id text not null,
  email text,
  email_verified_at timestamp with time zone,
  password_hash text,
  name text,
  locale text,
  customer_id text,
  is_disabled boolean not null default false,
  merged_into text,
  erased_at timestamp with time zone,
  password_changed_at timestamp with time zone,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint users_pkey PRIMARY KEY (id),
  constraint users_email_form CHECK (((email = lower(email)) AND ((length(email) >= 3) AND (length(email) <= 254)))),
  constraint users_locale_check CHECK ((length(locale) <= 35)),
  constraint users_name_check CHECK ((length(name) <= 200)),
  constraint users_merged_into_fkey FOREIGN KEY (merged_into) REFERENCES identity.users(id)
);
CREATE INDEX users_created ON identity.users USING btree (created_at DESC, id DESC);
CREATE UNIQUE INDEX users_customer ON identity.users USING btree (customer_id) WHERE (customer_id IS NOT NULL);
CREATE UNIQUE INDEX users_email ON identity.users USING btree (email) WHERE (email IS NOT NULL);
CREATE INDEX users_email_beginning ON identity.users USING btree (email text_pattern_ops) WHERE ((merged_into IS NULL) AND (erased_at IS NULL));
CREATE INDEX users_name_beginning ON identity.users USING btree (lower(name) text_pattern_ops) WHERE ((merged_into IS NULL) AND (erased_at IS NULL));

CREATE OR REPLACE FUNCTION identity.append_audit(p_actor_id text, p_actor_kind text, p_impersonator_id text, p_action text, p_subject_id text, p_before jsonb, p_after jsonb, p_reason text, p_address text, p_request_id text, p_now timestamp with time zone)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  head identity.audit_head;
  entry identity.audit_log;
begin
  select * into strict head from identity.audit_head for update;
  entry.sequence := head.sequence + 1;
  entry.actor_id := p_actor_id;
  entry.actor_kind := p_actor_kind;
  entry.impersonator_id := p_impersonator_id;
  entry.action := p_action;
  entry.subject_id := p_subject_id;
  entry.before := p_before;
  entry.after := p_after;
  entry.reason := p_reason;
  entry.address := p_address;
  entry.request_id := p_request_id;
  entry.created_at := p_now;
  entry.hash := sha256(head.hash || convert_to(identity.canonical_audit(entry), 'UTF8'));
  insert into identity.audit_log select entry.*;
  update identity.audit_head set sequence = entry.sequence, hash = entry.hash;
  return entry.sequence;
end $function$;

CREATE OR REPLACE FUNCTION identity.canonical_audit(entry identity.audit_log)
 RETURNS text
 LANGUAGE sql
 STABLE
AS $function$
  select row(entry.sequence, entry.actor_id, entry.actor_kind, entry.impersonator_id, entry.action,
    entry.subject_id, entry.before, entry.after, entry.reason, entry.address, entry.request_id,
    extract(epoch from entry.created_at))::text
$function$;

CREATE OR REPLACE FUNCTION identity.refuse_audit_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'identity.audit_log is append-only' using errcode = 'IE001';
end $function$;

-- ----------------------------------------------------------------------------------------------------
create schema kernel;

create table kernel.function_files (
  name text not null,
  digest text not null,
  applied_at timestamp with time zone not null default now(),
  constraint function_files_pkey PRIMARY KEY (name)
);

create table kernel.idempotency_keys (
  actor_id text not null,
  route text not null,
  key text not null,
  input_digest bytea not null,
  resource_id text,
  leased_until timestamp with time zone,
  status smallint,
  answer text,
  created_at timestamp with time zone not null,
  constraint idempotency_keys_pkey PRIMARY KEY (actor_id, route, key),
  constraint idempotency_keys_check CHECK (((status IS NULL) = (answer IS NULL)))
);
CREATE INDEX idempotency_keys_created ON kernel.idempotency_keys USING btree (created_at);

create table kernel.migrations (
  number integer not null,
  name text not null,
  digest text not null,
  applied_at timestamp with time zone not null default now(),
  constraint migrations_pkey PRIMARY KEY (number)
);

create table kernel.settings (
  name text not null,
  value jsonb not null,
  updated_at timestamp with time zone not null default now(),
  constraint settings_pkey PRIMARY KEY (name)
);

-- ----------------------------------------------------------------------------------------------------
create schema ledger;

create table ledger.grants (
  wallet_id bigint not null,
  id bigint not null,
  granted bigint not null,
  remaining bigint not null,
  held bigint not null default 0,
  revoked bigint not null default 0,
  price_amount bigint,
  price_units bigint,
  starts_at timestamp with time zone not null,
  expires_at timestamp with time zone not null default 'infinity'::timestamp with time zone,
  created_at timestamp with time zone not null,
  parent_wallet_id bigint,
  parent_id bigint,
  origin_wallet_id bigint,
  origin_id bigint,
  priority smallint not null,
  is_paid boolean not null,
  is_scheduled boolean not null default false,
  is_open boolean not null,
  price_currency text,
  source text not null,
  source_id text not null,
  constraint grants_pkey PRIMARY KEY (wallet_id, id),
  constraint grants_source UNIQUE (source, source_id),
  constraint grants_amounts CHECK (((0 <= held) AND (held <= remaining) AND (0 <= revoked) AND ((remaining + revoked) <= granted) AND (is_open = ((remaining > 0) AND (NOT is_scheduled))) AND (NOT (is_scheduled AND ((held > 0) OR (remaining = 0)))))),
  constraint grants_source_check CHECK ((source = ANY (ARRAY['purchase'::text, 'subscription'::text, 'promo'::text, 'bonus'::text, 'referral'::text, 'refund'::text, 'manual'::text, 'transfer'::text]))),
  constraint grants_origin FOREIGN KEY (origin_wallet_id, origin_id) REFERENCES ledger.grants(wallet_id, id) MATCH FULL,
  constraint grants_parent FOREIGN KEY (parent_wallet_id, parent_id) REFERENCES ledger.grants(wallet_id, id) MATCH FULL,
  constraint grants_wallet_id_fkey FOREIGN KEY (wallet_id) REFERENCES ledger.wallets(id)
) with (fillfactor=70);
CREATE INDEX grants_burn_order ON ledger.grants USING btree (wallet_id, priority, expires_at, is_paid, created_at, id) WHERE is_open;
CREATE INDEX grants_children ON ledger.grants USING btree (parent_wallet_id, parent_id) WHERE (parent_id IS NOT NULL);
CREATE INDEX grants_parts ON ledger.grants USING btree (origin_wallet_id, origin_id) WHERE (origin_id IS NOT NULL);
CREATE INDEX grants_scheduled_start ON ledger.grants USING btree (wallet_id, starts_at) WHERE is_scheduled;
CREATE TRIGGER grants_facts BEFORE INSERT ON ledger.grants FOR EACH ROW EXECUTE FUNCTION ledger.check_grant();
CREATE TRIGGER grants_fixed BEFORE UPDATE OF wallet_id, id, granted, price_amount, price_units, price_currency, starts_at, expires_at, created_at, parent_wallet_id, parent_id, origin_wallet_id, origin_id, priority, is_paid, source, source_id ON ledger.grants FOR EACH ROW EXECUTE FUNCTION ledger.check_grant();

create table ledger.holds (
  id text not null,
  wallet_id bigint not null,
  amount bigint not null,
  captured bigint not null default 0,
  placed_sequence bigint not null,
  closed_wallet_id bigint,
  closed_sequence bigint,
  expires_at timestamp with time zone not null,
  created_at timestamp with time zone not null,
  closed_at timestamp with time zone,
  is_late boolean not null default false,
  status text not null,
  reason text,
  reference text,
  metadata jsonb,
  grant_ids bigint[] not null,
  grant_amounts bigint[] not null,
  constraint holds_pkey PRIMARY KEY (id),
  constraint holds_amount_check CHECK (((amount >= 1) AND (amount <= '9007199254740991'::bigint))),
  constraint holds_captured CHECK ((((captured >= 0) AND (captured <= amount)) AND ((captured > 0) = (status = 'captured'::text)))),
  constraint holds_closed CHECK ((((status = 'placed'::text) = (closed_sequence IS NULL)) AND ((status = 'placed'::text) = (closed_at IS NULL)) AND ((status = 'placed'::text) = (closed_wallet_id IS NULL)))),
  constraint holds_late CHECK (((NOT is_late) OR (status = 'captured'::text))),
  constraint holds_status_check CHECK ((status = ANY (ARRAY['placed'::text, 'captured'::text, 'released'::text, 'expired'::text]))),
  constraint holds_wallet_id_fkey FOREIGN KEY (wallet_id) REFERENCES ledger.wallets(id)
) with (fillfactor=80);
CREATE INDEX holds_due ON ledger.holds USING btree (expires_at) WHERE (status = 'placed'::text);
CREATE INDEX holds_placed ON ledger.holds USING btree (wallet_id) WHERE (status = 'placed'::text);

create table ledger.merged_customers (
  customer_id text not null,
  survivor_id text not null,
  merged_at timestamp with time zone not null,
  constraint merged_customers_pkey PRIMARY KEY (customer_id),
  constraint merged_customers_check CHECK ((customer_id <> survivor_id))
);
CREATE INDEX merged_customers_survivor ON ledger.merged_customers USING btree (survivor_id);

create table ledger.revocations (
  wallet_id bigint not null,
  key_digest bytea not null,
  input_digest bytea not null,
  grant_id bigint not null,
  requested bigint not null,
  taken_at_once bigint not null,
  others_at_once bigint not null,
  debt_at_once bigint not null,
  taken bigint not null,
  debt bigint not null default 0,
  written_off bigint not null default 0,
  reinstated bigint not null default 0,
  slice_wallet_ids bigint[] not null default '{}'::bigint[],
  slice_grant_ids bigint[] not null default '{}'::bigint[],
  slice_amounts bigint[] not null default '{}'::bigint[],
  reinstated_at timestamp with time zone,
  created_at timestamp with time zone not null,
  actor_id text not null,
  reason text not null,
  reference text,
  constraint revocations_pkey PRIMARY KEY (wallet_id, key_digest),
  constraint revocations_check CHECK ((requested = (((taken + debt) + written_off) + reinstated))),
  constraint revocations_check1 CHECK ((((taken_at_once + others_at_once) + debt_at_once) <= requested)),
  constraint revocations_check2 CHECK (((reinstated_at IS NULL) OR (reinstated = requested))),
  constraint revocations_debt_at_once_check CHECK ((debt_at_once >= 0)),
  constraint revocations_debt_check CHECK ((debt >= 0)),
  constraint revocations_input_digest_check CHECK ((length(input_digest) = 16)),
  constraint revocations_key_digest_check CHECK ((length(key_digest) = 16)),
  constraint revocations_others_at_once_check CHECK ((others_at_once >= 0)),
  constraint revocations_reinstated_check CHECK ((reinstated >= 0)),
  constraint revocations_requested_check CHECK (((requested >= 1) AND (requested <= '9007199254740991'::bigint))),
  constraint revocations_taken_at_once_check CHECK ((taken_at_once >= 0)),
  constraint revocations_taken_check CHECK ((taken >= 0)),
  constraint revocations_written_off_check CHECK ((written_off >= 0)),
  constraint revocations_wallet_id_grant_id_fkey FOREIGN KEY (wallet_id, grant_id) REFERENCES ledger.grants(wallet_id, id)
);
CREATE INDEX revocations_grant ON ledger.revocations USING btree (wallet_id, grant_id);
CREATE INDEX revocations_written_off ON ledger.revocations USING btree (wallet_id, grant_id) WHERE (written_off > 0);

create table ledger.transfer_kinds (
  kind text not null,
  from_account text not null,
  to_account text not null,
  grant_remaining smallint not null,
  grant_held smallint not null,
  grant_revoked smallint not null,
  wallet_balance smallint not null,
  wallet_held smallint not null,
  wallet_scheduled smallint not null,
  wallet_debt smallint not null,
  is_opening boolean not null,
  is_inflow boolean not null,
  is_use boolean not null,
  constraint transfer_kinds_pkey PRIMARY KEY (kind)
);

create table ledger.transfers (
  wallet_id bigint not null,
  sequence bigint not null,
  amount bigint not null,
  balance_after bigint not null,
  held_after bigint not null,
  created_at timestamp with time zone not null,
  related_sequence bigint,
  related_wallet_id bigint,
  kind text not null,
  grant_ids bigint[] not null,
  grant_amounts bigint[] not null,
  key_digest bytea,
  input_digest bytea,
  hash bytea not null,
  actor_id text,
  reason text,
  reference text,
  hold_id text,
  metadata jsonb,
  constraint transfers_pkey PRIMARY KEY (wallet_id, sequence),
  constraint transfers_amounts CHECK ((((amount >= 1) AND (amount <= '9007199254740991'::bigint)) AND (0 <= held_after) AND (held_after <= balance_after)))
);
CREATE UNIQUE INDEX transfers_key ON ledger.transfers USING btree (wallet_id, key_digest) WHERE (key_digest IS NOT NULL);
CREATE INDEX transfers_related ON ledger.transfers USING btree (wallet_id, related_sequence) WHERE (related_sequence IS NOT NULL);
CREATE TRIGGER transfers_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.transfers FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
-- privileges: kopilka=arxtm/kopilka

create table ledger.units (
  code text not null,
  scale bigint not null,
  name text not null,
  translations jsonb not null default '{}'::jsonb,
  kind text not null default 'counted'::text,
  is_debt_allowed boolean not null default false,
  created_at timestamp with time zone not null,
  constraint units_pkey PRIMARY KEY (code),
  constraint units_code_check CHECK ((code ~ '^[A-Za-z][A-Za-z0-9_]{0,31}$'::text)),
  constraint units_kind_check CHECK ((kind = ANY (ARRAY['counted'::text, 'money'::text]))),
  constraint units_scale_check CHECK (((scale > 0) AND (scale <= '1000000000000'::bigint)))
);

create table ledger.wallets (
  id bigint not null generated always as identity,
  balance bigint not null default 0,
  held bigint not null default 0,
  scheduled bigint not null default 0,
  debt bigint not null default 0,
  sequence bigint not null default 0,
  next_expiry timestamp with time zone not null default 'infinity'::timestamp with time zone,
  created_at timestamp with time zone not null,
  customer_id text not null,
  unit text not null,
  merged_into bigint,
  has_merged boolean not null default false,
  chain_hash bytea not null default '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea,
  constraint wallets_pkey PRIMARY KEY (id),
  constraint wallets_customer_unit UNIQUE (customer_id, unit),
  constraint wallets_amounts CHECK (((held >= 0) AND (balance >= held) AND (scheduled >= 0) AND ((debt >= 0) AND (debt <= '9007199254740991'::bigint)) AND ((balance + scheduled) <= '9007199254740991'::bigint))),
  constraint wallets_merged_into_fkey FOREIGN KEY (merged_into) REFERENCES ledger.wallets(id),
  constraint wallets_unit_fkey FOREIGN KEY (unit) REFERENCES ledger.units(code)
) with (fillfactor=50);
CREATE INDEX wallets_merged_into ON ledger.wallets USING btree (merged_into) WHERE (merged_into IS NOT NULL);
CREATE INDEX wallets_next_expiry ON ledger.wallets USING btree (next_expiry) WHERE (next_expiry < 'infinity'::timestamp with time zone);

create view ledger.entries as
  SELECT t.wallet_id,
    t.sequence,
    side.account,
    side.amount,
    t.kind,
    t.created_at
   FROM ledger.transfers t
     JOIN ledger.transfer_kinds k ON k.kind = t.kind
     CROSS JOIN LATERAL ( VALUES (k.from_account,- t.amount), (k.to_account,t.amount)) side(account, amount);

CREATE OR REPLACE FUNCTION ledger.append(p_wallet_id bigint, p_rows jsonb, p_now timestamp with time zone)
 RETURNS TABLE(item integer, sequence bigint, balance_after bigint, held_after bigint)
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
  r record;
begin
  for r in
    select ordinality::int as n, x.*
    from jsonb_array_elements(p_rows) with ordinality
    cross join lateral jsonb_to_record(value) x (
      kind text, amount bigint, grant_ids bigint[], grant_amounts bigint[], key_digest text,
        input_digest text,
      actor_id text, reason text, reference text, metadata jsonb, hold_id text, related_wallet_id bigint,
      related_sequence bigint, new_grant jsonb)
    order by ordinality
  loop
    item := r.n;
    if r.new_grant is not null then
      sequence := ledger.open_grant(p_wallet_id, r.kind, jsonb_populate_record(null::ledger.grants,
        r.new_grant), p_now,
        decode(r.key_digest, 'hex'), decode(r.input_digest, 'hex'), r.actor_id, r.reason, r.reference,
          r.metadata,
        r.related_wallet_id, r.related_sequence);
    else
      sequence := ledger.post(p_wallet_id, r.kind, r.amount, coalesce(r.grant_ids, '{}'),
        coalesce(r.grant_amounts, '{}'),
        p_now, decode(r.key_digest, 'hex'), decode(r.input_digest, 'hex'), r.actor_id, r.reason, r.reference,
        r.metadata, r.hold_id, r.related_wallet_id, r.related_sequence);
    end if;
    select t.balance_after, t.held_after into balance_after, held_after
    from ledger.transfers t where t.wallet_id = p_wallet_id and t.sequence = append.sequence;
    return next;
  end loop;
  perform ledger.settle(p_wallet_id, p_now);
end $function$;

CREATE OR REPLACE FUNCTION ledger.asked_wallets(p_items jsonb)
 RETURNS TABLE(item integer, body jsonb, customer_id text, unit text, wallet_id bigint)
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
  return query
    select i.ordinality::int, i.value, coalesce(m.survivor_id, i.value ->> 'customer_id'),
      i.value ->> 'unit', w.id
    from jsonb_array_elements(p_items) with ordinality i
    left join ledger.merged_customers m on m.customer_id = i.value ->> 'customer_id'
    left join ledger.wallets w
      on w.customer_id = coalesce(m.survivor_id, i.value ->> 'customer_id') and w.unit = i.value ->> 'unit';
end $function$;

CREATE OR REPLACE FUNCTION ledger.burn(p_wallet_id bigint, p_amount bigint, p_now timestamp with time zone, OUT grant_ids bigint[], OUT grant_amounts bigint[], OUT taken bigint)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
  g record;
  slice bigint;
begin
  grant_ids := '{}';
  grant_amounts := '{}';
  taken := 0;
  for g in
    select o.id, o.remaining - o.held as free from ledger.grants o
    where o.wallet_id = p_wallet_id and o.is_open and o.remaining > o.held and o.expires_at > p_now
    order by o.priority, o.expires_at, o.is_paid, o.created_at, o.id
  loop
    exit when taken = p_amount;
    slice := least(g.free, p_amount - taken);
    grant_ids := grant_ids || g.id;
    grant_amounts := grant_amounts || slice;
    taken := taken + slice;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION ledger.canonical_transfer(wallet_id bigint, sequence bigint, kind text, amount bigint, balance_after bigint, held_after bigint, grant_ids bigint[], grant_amounts bigint[], key_digest bytea, input_digest bytea, actor_id text, reason text, reference text, metadata jsonb, hold_id text, related_wallet_id bigint, related_sequence bigint, created_at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE
AS $function$
  select row(wallet_id, sequence, kind, amount, balance_after, held_after, grant_ids, grant_amounts,
    encode(key_digest, 'hex'), encode(input_digest, 'hex'), actor_id, reason, reference, metadata, hold_id,
    related_wallet_id, related_sequence, extract(epoch from created_at))::text
$function$;

CREATE OR REPLACE FUNCTION ledger.chain_step(state bytea, first bytea, canonical text)
 RETURNS bytea
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
begin
  return sha256(coalesce(state, first) || convert_to(canonical, 'UTF8'));
end $function$;

CREATE OR REPLACE FUNCTION ledger.check_grant()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if tg_op = 'UPDATE' then
    raise exception 'what a grant was made with never changes' using errcode = 'LE001';
  end if;
  if new.granted not between 1 and 9007199254740991
    or new.starts_at >= new.expires_at
    or length(new.source_id) not between 1 and 300
    or (new.price_amount is null) <> (new.price_currency is null)
    or (new.price_amount is null) <> (new.price_units is null)
    or new.price_amount not between 0 and 9007199254740991
    or new.price_units <= 0 then
    raise exception 'a grant does not make sense: % % %', new.source, new.source_id, new.granted
      using errcode = '23514', constraint = 'grants_facts';
  end if;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION ledger.find_grant(p_wallet ledger.wallets, p_source text, p_source_id text, p_key bytea)
 RETURNS TABLE(wallet_id bigint, sequence bigint, amount bigint, balance_after bigint, input_digest bytea, is_same_owner boolean)
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
  return query
    select t.wallet_id, t.sequence, t.amount, t.balance_after, t.input_digest,
      h.id = p_wallet.id or coalesce(h.merged_into = p_wallet.id, false)
    from ledger.grants g
    join ledger.wallets h on h.id = g.wallet_id
    join ledger.transfers t on t.wallet_id = g.wallet_id and t.sequence = g.id
    where g.source = p_source and g.source_id = p_source_id;
  if found or p_key is null then
    return;
  end if;
  return query
    select t.wallet_id, t.sequence, t.amount, t.balance_after, t.input_digest, true
    from ledger.transfers t where t.wallet_id = p_wallet.id and t.key_digest = p_key;
  if not found and p_wallet.has_merged then
    return query
      select t.wallet_id, t.sequence, t.amount, t.balance_after, t.input_digest, true
      from ledger.wallets m join ledger.transfers t on t.wallet_id = m.id and t.key_digest = p_key
      where m.merged_into = p_wallet.id;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION ledger.grant_batch(p_grants jsonb, p_items integer[], p_now timestamp with time zone)
 RETURNS TABLE(item integer, wallet_id bigint, grant_id bigint, balance bigint)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
begin
  return query
  with
    asked as (
      select a.item, a.wallet_id, x.*, w.sequence + row_number() over so_far as id,
        w.balance + ledger.total(x.granted) over so_far as balance_after, w.held, w.chain_hash,
        ledger.total(x.granted) over whole + w.balance + w.scheduled as total,
        count(*) over whole = row_number() over so_far as is_last,
        min(coalesce(x.expires_at, 'infinity')) over whole as next_expiry,
        p.wallet_id as parent_wallet_id, p.id as parent_id
      from ledger.asked_wallets(p_grants) a
      cross join lateral jsonb_to_record(a.body) x (
        granted bigint, price_amount bigint, price_units bigint, price_currency text, starts_at timestamptz,
        expires_at timestamptz, priority smallint, is_paid boolean, source text, source_id text,
          parent_source text,
        parent_source_id text, key_digest text, actor_id text, reason text, reference text, metadata jsonb,
          kind text)
      join ledger.wallets w on w.id = a.wallet_id
      left join ledger.grants p on p.source = x.parent_source and p.source_id = x.parent_source_id
      where a.item = any(p_items) and w.debt = 0 and x.key_digest is null and coalesce(x.starts_at <= p_now,
        true)
        and (x.parent_source is null or p.id is not null)
        and not exists (select 1 from ledger.grants g where g.source = x.source and g.source_id = x.source_id)
      window
        whole as (partition by a.wallet_id),
        so_far as (partition by a.wallet_id order by a.item rows unbounded preceding)
    ),
    done as materialized (
      select a.*,
        ledger.chain(a.chain_hash, ledger.canonical_transfer(
          a.wallet_id, a.id, coalesce(a.kind, 'grant'), a.granted, a.balance_after, a.held, array[a.id],
          array[a.granted], null, null, a.actor_id, a.reason, a.reference, a.metadata, null, null, null,
            p_now)
        ) over (partition by a.wallet_id order by a.item rows unbounded preceding) as hash
      from asked a
      where a.total <= 9007199254740991
    ),
    granted as (
      insert into ledger.grants (
        wallet_id, id, granted, remaining, price_amount, price_units, price_currency, starts_at, expires_at,
        created_at, parent_wallet_id, parent_id, priority, is_paid, is_open, source, source_id)
      select d.wallet_id, d.id, d.granted, d.granted, d.price_amount, d.price_units, d.price_currency,
        coalesce(d.starts_at, p_now), coalesce(d.expires_at, 'infinity'), p_now, d.parent_wallet_id,
          d.parent_id,
        d.priority, d.is_paid, true, d.source, d.source_id
      from done d
    ),
    moved as (
      update ledger.wallets w
      set balance = d.balance_after, sequence = d.id, chain_hash = d.hash,
        next_expiry = least(w.next_expiry, d.next_expiry)
      from done d
      where d.is_last and w.id = d.wallet_id
    ),
    kept as (
      insert into ledger.transfers (
        wallet_id, sequence, amount, balance_after, held_after, created_at, kind, grant_ids, grant_amounts,
          hash,
        actor_id, reason, reference, metadata)
      select d.wallet_id, d.id, d.granted, d.balance_after, d.held, p_now, coalesce(d.kind, 'grant'),
        array[d.id],
        array[d.granted], d.hash, d.actor_id, d.reason, d.reference, d.metadata
      from done d
    )
  select d.item, d.wallet_id, d.id, d.balance_after from done d;
end $function$;

CREATE OR REPLACE FUNCTION ledger.grant_many(p_grants jsonb, p_now timestamp with time zone)
 RETURNS TABLE(item integer, status text, wallet_id bigint, grant_id bigint, balance bigint)
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
  g record;
  w ledger.wallets;
  new_grant ledger.grants;
  known record;
  kind text;
  -- Places that have no answer yet; of one name only the first goes with the batch.
  left_over int[];
  firsts int[];
  wallet_ids bigint[];
  is_family boolean;
  is_missing boolean;
  is_stale boolean := false;
begin
  -- Looked up once: each look reads all items and their wallets.
  with asked as materialized (select * from ledger.asked_wallets(p_grants))
  select array_agg(a.item), bool_or(a.body ? 'parent_source'), bool_or(a.wallet_id is null),
    array_agg(distinct a.wallet_id) filter (where a.wallet_id is not null),
    (select array_agg(f.item) from (
      select distinct on (n.body ->> 'source', n.body ->> 'source_id') n.item
      from asked n order by n.body ->> 'source', n.body ->> 'source_id', n.item) f)
  into left_over, is_family, is_missing, wallet_ids, firsts
  from asked a;
  -- Wallets are made in one order everywhere, for the same reason they are locked in one. A customer may be
  -- merged into another between the look and the lock: then it is another wallet, and both are done again.
  loop
    if is_missing then
      insert into ledger.wallets (customer_id, unit, created_at)
      select distinct a.customer_id, a.unit, p_now
      from ledger.asked_wallets(p_grants) a
      join ledger.units u on u.code = a.unit
      where a.wallet_id is null
      order by a.customer_id, a.unit
      on conflict do nothing;
    end if;
    if is_missing or is_stale then
      wallet_ids := array(select distinct a.wallet_id from ledger.asked_wallets(p_grants) a
        where a.wallet_id is not null);
    end if;
    select coalesce(bool_or(l.merged_into is not null), false) into is_stale from (
      select h.merged_into from ledger.wallets h where h.id = any(wallet_ids) order by h.id
      for no key update) l;
    exit when not is_missing and not is_stale;
    is_missing := exists (
      select 1 from ledger.asked_wallets(p_grants) a left join ledger.units u on u.code = a.unit
      where a.wallet_id is null and u.code is not null);
    exit when not is_missing and not exists (
      select 1 from ledger.asked_wallets(p_grants) a where a.wallet_id <> all(wallet_ids));
    is_stale := true;
  end loop;

  -- Children go in a second round, when their parents are there.
  for round in 1 .. case when is_family then 2 else 1 end loop
    firsts := array(select f from unnest(firsts) f where f = any(left_over));
    for g in select * from ledger.grant_batch(p_grants, firsts, p_now) loop
      item := g.item; wallet_id := g.wallet_id; grant_id := g.grant_id; balance := g.balance;
      status := 'granted';
      left_over := array_remove(left_over, item);
      return next;
    end loop;
    if cardinality(left_over) = 0 then
      return;
    end if;
  end loop;

  for g in
    select a.*, x.*
    from ledger.asked_wallets(p_grants) a
    cross join lateral jsonb_to_record(a.body) x (
      key_digest bytea, input_digest bytea, actor_id text, reason text, reference text, metadata jsonb,
        kind text,
      parent_source text, parent_source_id text)
    where a.item = any(left_over)
    order by a.item
  loop
    item := g.item; wallet_id := g.wallet_id; grant_id := null; balance := null;
    if wallet_id is null then
      status := 'unknown_unit';
      return next;
      continue;
    end if;
    new_grant := jsonb_populate_record(null::ledger.grants, g.body);
    select * into w from ledger.wallets h where h.id = g.wallet_id;
    select * into known from ledger.find_grant(w, new_grant.source, new_grant.source_id, g.key_digest);
    if found then
      wallet_id := known.wallet_id; grant_id := known.sequence; balance := known.balance_after;
      status := case
        when known.is_same_owner and known.amount = new_grant.granted
          and (g.input_digest is null or known.input_digest = g.input_digest)
        then 'existing' else 'conflict' end;
      return next;
      continue;
    end if;
    if w.balance + w.scheduled + new_grant.granted > 9007199254740991 then
      status := 'too_large';
      return next;
      continue;
    end if;
    if g.parent_source is not null then
      select p.wallet_id, p.id into new_grant.parent_wallet_id, new_grant.parent_id
      from ledger.grants p where p.source = g.parent_source and p.source_id = g.parent_source_id;
      if not found then
        status := 'unknown_parent';
        return next;
        continue;
      end if;
    end if;
    kind := case when new_grant.starts_at > p_now then 'grant_schedule' else coalesce(g.kind, 'grant') end;
    grant_id := ledger.open_grant(w.id, kind, new_grant, p_now, g.key_digest, g.input_digest, g.actor_id,
      g.reason,
      g.reference, g.metadata);
    balance := (select t.balance_after from ledger.transfers t where t.wallet_id = w.id
      and t.sequence = grant_id);
    status := 'granted';
    return next;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION ledger.link_hash(previous bytea, canonical text)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select sha256(previous || convert_to(canonical, 'UTF8'))
$function$;

CREATE OR REPLACE FUNCTION ledger.live_balance(p_wallet_id bigint, p_now timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
  select (
    coalesce(sum(case when g.expires_at > p_now then g.remaining else g.held end), 0)
    - least(
      (select w.debt from ledger.wallets w where w.id = p_wallet_id),
      coalesce(sum(g.remaining) filter (where g.is_scheduled and g.expires_at > p_now), 0))
  )::bigint
  from ledger.grants g
  where g.wallet_id = p_wallet_id and (g.is_open or g.is_scheduled and g.starts_at <= p_now)
$function$;

CREATE OR REPLACE FUNCTION ledger.lock_wallets(p_wallet_ids bigint[], p_now timestamp with time zone)
 RETURNS SETOF ledger.wallets
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
begin
  perform 1 from ledger.wallets w where w.id = any(p_wallet_ids) order by w.id for no key update;
  perform ledger.settle(w.id, p_now)
  from (select x.id from ledger.wallets x where x.id = any(p_wallet_ids) and x.next_expiry <= p_now
    order by x.id) w;
  return query select w.* from ledger.wallets w where w.id = any(p_wallet_ids) order by w.id;
end $function$;

CREATE OR REPLACE FUNCTION ledger.open_grant(p_wallet_id bigint, p_kind text, p_grant ledger.grants, p_now timestamp with time zone, p_key bytea DEFAULT NULL::bytea, p_input bytea DEFAULT NULL::bytea, p_actor_id text DEFAULT NULL::text, p_reason text DEFAULT NULL::text, p_reference text DEFAULT NULL::text, p_metadata jsonb DEFAULT NULL::jsonb, p_related_wallet_id bigint DEFAULT NULL::bigint, p_related_sequence bigint DEFAULT NULL::bigint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  g ledger.grants := p_grant;
begin
  g.wallet_id := p_wallet_id;
  g.id := (select sequence + 1 from ledger.wallets where id = p_wallet_id);
  g.remaining := g.granted;
  g.held := 0;
  g.revoked := 0;
  g.starts_at := coalesce(g.starts_at, p_now);
  g.expires_at := coalesce(g.expires_at, 'infinity');
  g.created_at := coalesce(g.created_at, p_now);
  g.is_scheduled := p_kind in ('grant_schedule', 'scheduled_transfer_in');
  g.is_open := not g.is_scheduled;
  insert into ledger.grants select g.*;
  return ledger.post(p_wallet_id, p_kind, g.granted, array[g.id], array[g.granted], p_now, p_key, p_input,
    p_actor_id, p_reason, p_reference, p_metadata, null, p_related_wallet_id, p_related_sequence);
end $function$;

CREATE OR REPLACE FUNCTION ledger.post(p_wallet_id bigint, p_kind text, p_amount bigint, p_grant_ids bigint[], p_grant_amounts bigint[], p_now timestamp with time zone, p_key bytea DEFAULT NULL::bytea, p_input bytea DEFAULT NULL::bytea, p_actor_id text DEFAULT NULL::text, p_reason text DEFAULT NULL::text, p_reference text DEFAULT NULL::text, p_metadata jsonb DEFAULT NULL::jsonb, p_hold_id text DEFAULT NULL::text, p_related_wallet_id bigint DEFAULT NULL::bigint, p_related_sequence bigint DEFAULT NULL::bigint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
  w ledger.wallets;
  k ledger.transfer_kinds;
  touched int;
  due timestamptz;
  slice record;
begin
  select * into strict k from ledger.transfer_kinds where kind = p_kind;
  select * into strict w from ledger.wallets where id = p_wallet_id;
  w.sequence := w.sequence + 1;
  w.balance := w.balance + k.wallet_balance * p_amount;
  w.held := w.held + k.wallet_held * p_amount;
  w.scheduled := w.scheduled + k.wallet_scheduled * p_amount;
  w.debt := w.debt + k.wallet_debt * p_amount;
  w.chain_hash := ledger.link_hash(w.chain_hash, ledger.canonical_transfer(
    p_wallet_id, w.sequence, p_kind, p_amount, w.balance, w.held, p_grant_ids, p_grant_amounts, p_key,
      p_input,
    p_actor_id, p_reason, p_reference, p_metadata, p_hold_id, p_related_wallet_id, p_related_sequence,
      p_now));
  -- Whatever may bring a due grant back is looked at again by ledger.settle.
  if k.grant_remaining > 0 or k.grant_held < 0 or p_kind = 'grant_start' then
    select min(case when k.wallet_scheduled > 0 then g.starts_at else g.expires_at end) into due
    from ledger.grants g where g.wallet_id = p_wallet_id and g.id = any(p_grant_ids);
    w.next_expiry := least(w.next_expiry, due);
  end if;

  -- One statement: each further one would cost about as much again as what it does.
  with
    slices as (
      select s.id, s.amount, k.wallet_scheduled <> 0 and p_kind <> 'grant_start' as is_scheduled
      from unnest(p_grant_ids, p_grant_amounts) s (id, amount)
      where not k.is_opening
    ),
    changed as (
      update ledger.grants g
      set remaining = g.remaining + k.grant_remaining * s.amount,
        held = g.held + k.grant_held * s.amount,
        revoked = g.revoked + k.grant_revoked * s.amount,
        is_scheduled = g.remaining + k.grant_remaining * s.amount > 0 and s.is_scheduled,
        is_open = g.remaining + k.grant_remaining * s.amount > 0 and not s.is_scheduled
      from slices s
      where g.wallet_id = p_wallet_id and g.id = s.id
      returning s.amount
    ),
    kept as (
      insert into ledger.transfers (
        wallet_id, sequence, amount, balance_after, held_after, created_at, related_sequence,
          related_wallet_id,
        kind, grant_ids, grant_amounts, key_digest, input_digest, hash, actor_id, reason, reference,
          hold_id, metadata)
      values (
        p_wallet_id, w.sequence, p_amount, w.balance, w.held, p_now, p_related_sequence,
          p_related_wallet_id, p_kind,
        p_grant_ids, p_grant_amounts, p_key, p_input, w.chain_hash, p_actor_id, p_reason, p_reference,
          p_hold_id,
        p_metadata)
    ),
    moved as (
      update ledger.wallets
      set balance = w.balance, held = w.held, scheduled = w.scheduled, debt = w.debt, sequence = w.sequence,
        next_expiry = w.next_expiry, chain_hash = w.chain_hash
      where id = p_wallet_id
    )
  select case when count(*) = cardinality(p_grant_ids) and sum(c.amount) = p_amount then 0
    else 1 end into touched
  from changed c;
  if touched <> 0 and not k.is_opening and cardinality(p_grant_ids) > 0 then
    raise exception 'the slices of a % do not fit the grants of wallet %', p_kind,
      p_wallet_id using errcode = 'LE002';
  end if;

  if p_kind in ('reversal', 'release') then
    perform ledger.recover(p_wallet_id, p_grant_ids, p_grant_amounts, w.sequence, p_now);
  end if;
  if k.is_inflow and w.debt > 0 then
    for slice in
      select g.id, least(g.remaining - g.held, s.amount) as free
      from unnest(p_grant_ids, p_grant_amounts) s (id, amount)
      join ledger.grants g on g.wallet_id = p_wallet_id and g.id = s.id
      where g.expires_at > p_now
    loop
      exit when w.debt = 0;
      continue when slice.free = 0;
      slice.free := least(slice.free, w.debt);
      w.debt := w.debt - slice.free;
      perform ledger.post(p_wallet_id, 'debt_repayment', slice.free, array[slice.id], array[slice.free],
        p_now,
        p_related_sequence => w.sequence);
    end loop;
  end if;
  return w.sequence;
end $function$;

CREATE OR REPLACE FUNCTION ledger.read_live(p_wallet_ids bigint[], p_now timestamp with time zone, p_limit integer)
 RETURNS TABLE(wallet_id bigint, is_wallet boolean, balance bigint, held bigint, debt bigint, is_due boolean, id bigint, granted bigint, remaining bigint, priority smallint, is_paid boolean, source text, expires_at timestamp with time zone, created_at timestamp with time zone)
 LANGUAGE sql
 STABLE
AS $function$
  select w.id, true, ledger.live_balance(w.id, p_now), w.held, w.debt, false, w.merged_into, null::bigint,
    null::bigint, null::smallint, null::boolean, null::text, null::timestamptz, null::timestamptz
  from ledger.wallets w
  where w.id = any(p_wallet_ids)
  union all
  select w.id, false, null, g.held, null, null, g.id, g.granted, g.remaining, g.priority, g.is_paid, g.source,
    g.expires_at, g.created_at
  from ledger.wallets w
  cross join lateral (
    select o.id, o.held, o.granted, o.priority, o.is_paid, o.source, o.expires_at, o.created_at,
      case when o.expires_at > p_now then o.remaining else o.held end as remaining
    from ledger.grants o
    where o.wallet_id = w.id and (o.is_open or o.is_scheduled and o.starts_at <= p_now)
      and (o.expires_at > p_now or o.held > 0)
    order by o.priority, o.expires_at, o.is_paid, o.created_at, o.id
    limit p_limit
  ) g
  where w.id = any(p_wallet_ids)
$function$;

CREATE OR REPLACE FUNCTION ledger.recover(p_wallet_id bigint, p_grant_ids bigint[], p_grant_amounts bigint[], p_sequence bigint, p_now timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  r record;
  taken_now bigint;
begin
  for r in
    select v.wallet_id, v.key_digest, v.actor_id, v.reason, v.reference, s.id, s.amount
    from unnest(p_grant_ids, p_grant_amounts) s (id, amount)
    join ledger.grants g on g.wallet_id = p_wallet_id and g.id = s.id
    join ledger.revocations v
      on v.wallet_id = coalesce(g.origin_wallet_id, g.wallet_id) and v.grant_id = coalesce(g.origin_id, g.id)
      and v.written_off > 0
    order by v.created_at, v.key_digest
  loop
    select least(v.written_off, r.amount, g.remaining - g.held) into taken_now
    from ledger.revocations v, ledger.grants g
    where v.wallet_id = r.wallet_id and v.key_digest = r.key_digest and g.wallet_id = p_wallet_id
      and g.id = r.id
    for update of v;
    continue when taken_now = 0;
    perform ledger.post(p_wallet_id, 'revocation', taken_now, array[r.id], array[taken_now], p_now,
      p_actor_id => r.actor_id, p_reason => r.reason, p_reference => r.reference,
        p_related_sequence => p_sequence);
    update ledger.revocations v
    set taken = v.taken + taken_now, written_off = v.written_off - taken_now,
      slice_wallet_ids = v.slice_wallet_ids || p_wallet_id,
        slice_grant_ids = v.slice_grant_ids || r.id::bigint,
      slice_amounts = v.slice_amounts || taken_now
    where v.wallet_id = r.wallet_id and v.key_digest = r.key_digest;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION ledger.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'ledger.transfers is append-only: correct by a reversing transfer' using errcode = 'LE001';
end $function$;

CREATE OR REPLACE FUNCTION ledger.settle(p_wallet_id bigint, p_now timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  g record;
begin
  if (select w.next_expiry > p_now from ledger.wallets w where w.id = p_wallet_id) then
    return;
  end if;
  for g in
    select s.id, s.remaining from ledger.grants s
    where s.wallet_id = p_wallet_id and s.is_scheduled and s.starts_at <= p_now order by s.starts_at, s.id
  loop
    perform ledger.post(p_wallet_id, 'grant_start', g.remaining, array[g.id], array[g.remaining], p_now);
  end loop;
  for g in
    select o.id, o.remaining - o.held as free from ledger.grants o
    where o.wallet_id = p_wallet_id and o.is_open and o.expires_at <= p_now and o.remaining > o.held
    order by o.expires_at, o.id
  loop
    perform ledger.post(p_wallet_id, 'expiry', g.free, array[g.id], array[g.free], p_now);
  end loop;
  update ledger.wallets w
  set next_expiry = least(
    (select coalesce(min(o.expires_at), 'infinity') from ledger.grants o
     where o.wallet_id = p_wallet_id and o.is_open and o.expires_at > p_now),
    (select coalesce(min(s.starts_at), 'infinity') from ledger.grants s
     where s.wallet_id = p_wallet_id and s.is_scheduled))
  where w.id = p_wallet_id;
end $function$;

CREATE OR REPLACE FUNCTION ledger.spend_batch(p_wallet_ids bigint[], p_amounts bigint[], p_keys bytea, p_inputs bytea, p_actor_ids text[], p_reasons text[], p_references text[], p_metadata jsonb[], p_now timestamp with time zone)
 RETURNS TABLE(item integer, sequence bigint, balance bigint, grant_id bigint)
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
begin
  -- The only locks, always in order of id, over all processes: no deadlock. What follows is a statement of
  -- its own and so sees everything that was committed before the locks were ours.
  perform 1 from ledger.wallets w where w.id = any(p_wallet_ids) order by w.id for no key update;
  return query
  with
    counted as (
      select
        u.item::int as item, u.wallet_id, u.amount, u.actor_id, u.reason, u.reference, u.metadata,
        substr(p_keys, u.item::int * 16 - 15, 16) as key_digest,
        substr(p_inputs, u.item::int * 16 - 15, 16) as input_digest,
        w.chain_hash, w.held,
        w.sequence + row_number() over so_far as sequence,
        w.balance - ledger.total(u.amount) over so_far as balance_after,
        ledger.total(u.amount) over whole as total,
        count(*) over whole = row_number() over so_far as is_last,
        w.balance - w.held as available,
        first_grant.id as grant_id, first_grant.free as grant_free
      from unnest(p_wallet_ids, p_amounts, p_actor_ids, p_reasons, p_references, p_metadata)
        with ordinality u (wallet_id, amount, actor_id, reason, reference, metadata, item)
      join ledger.wallets w on w.id = u.wallet_id
      cross join lateral (
        select g.id, g.remaining - g.held as free
        from ledger.grants g
        where g.wallet_id = u.wallet_id and g.is_open and g.remaining > g.held
        order by g.priority, g.expires_at, g.is_paid, g.created_at, g.id
        limit 1
      ) first_grant
      where w.next_expiry > p_now and not w.has_merged
        -- Before the windows: a replay must not count among the new ones.
        and not exists (
          select 1 from ledger.transfers t
          where t.wallet_id = u.wallet_id and t.key_digest = substr(p_keys, u.item::int * 16 - 15, 16))
      window
        whole as (partition by u.wallet_id),
        so_far as (partition by u.wallet_id order by u.item rows unbounded preceding)
    ),
    done as materialized (
      select c.*,
        ledger.chain(c.chain_hash, ledger.canonical_transfer(
          c.wallet_id, c.sequence, 'spend', c.amount, c.balance_after, c.held, array[c.grant_id],
            array[c.amount],
          c.key_digest, c.input_digest, c.actor_id, c.reason, c.reference, c.metadata, null, null, null,
            p_now)
        ) over (partition by c.wallet_id order by c.item rows unbounded preceding) as hash
      from counted c
      where c.total <= c.grant_free and c.total <= c.available
    ),
    burned as (
      update ledger.grants g
      set remaining = g.remaining - d.total, is_open = g.remaining > d.total
      from done d
      where d.is_last and g.wallet_id = d.wallet_id and g.id = d.grant_id
    ),
    moved as (
      update ledger.wallets w
      set balance = d.balance_after, sequence = d.sequence, chain_hash = d.hash
      from done d
      where d.is_last and w.id = d.wallet_id
    ),
    kept as (
      insert into ledger.transfers (
        wallet_id, sequence, amount, balance_after, held_after, created_at, kind, grant_ids, grant_amounts,
        key_digest, input_digest, hash, actor_id, reason, reference, metadata)
      select
        d.wallet_id, d.sequence, d.amount, d.balance_after, d.held, p_now, 'spend', array[d.grant_id],
        array[d.amount], d.key_digest, d.input_digest, d.hash, d.actor_id, d.reason, d.reference, d.metadata
      from done d
    )
  select d.item, d.sequence, d.balance_after, d.grant_id from done d;
end $function$;

CREATE OR REPLACE FUNCTION ledger.spend_rest(p_wallet_ids bigint[], p_amounts bigint[], p_keys bytea, p_inputs bytea, p_actor_ids text[], p_reasons text[], p_references text[], p_metadata jsonb[], p_now timestamp with time zone)
 RETURNS TABLE(item integer, status text, wallet_id bigint, sequence bigint, balance bigint, available bigint, grant_ids bigint[], grant_amounts bigint[], created_at timestamp with time zone)
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
  w ledger.wallets;
  t ledger.transfers;
  slices record;
  key bytea;
  input bytea;
begin
  perform 1 from ledger.wallets x where x.id = any(p_wallet_ids) order by x.id for no key update;
  for i in 1 .. cardinality(p_wallet_ids) loop
    item := i;
    key := substr(p_keys, i * 16 - 15, 16);
    input := substr(p_inputs, i * 16 - 15, 16);
    wallet_id := p_wallet_ids[i];
    select * into w from ledger.wallets x where x.id = wallet_id;
    select * into t from ledger.transfers x where x.wallet_id = w.id and x.key_digest = key;
    if t.wallet_id is null and w.has_merged then
      select x.* into t from ledger.wallets m join ledger.transfers x on x.wallet_id = m.id
        and x.key_digest = key
      where m.merged_into = w.id;
    end if;
    if t.wallet_id is not null then
      status := case when t.input_digest = input then 'replayed' else 'key_reused' end;
      wallet_id := t.wallet_id;
      sequence := t.sequence; balance := t.balance_after; available := null;
      grant_ids := t.grant_ids; grant_amounts := t.grant_amounts; created_at := t.created_at;
      return next;
      continue;
    end if;
    sequence := null; balance := null; available := null;
    grant_ids := null; grant_amounts := null; created_at := null;
    if w.id is null then
      status := 'unknown_wallet';
      return next;
      continue;
    end if;
    available := case when w.next_expiry > p_now then w.balance else ledger.live_balance(w.id,
      p_now) end - w.held;
    if p_amounts[i] > available then
      status := 'insufficient';
      return next;
      continue;
    end if;
    perform ledger.settle(w.id, p_now);
    slices := ledger.burn(w.id, p_amounts[i], p_now);
    if slices.taken < p_amounts[i] then
      raise exception 'wallet % shows more than its grants hold', w.id using errcode = 'LE002';
    end if;
    sequence := ledger.post(w.id, 'spend', p_amounts[i], slices.grant_ids, slices.grant_amounts, p_now, key,
      input,
      p_actor_ids[i], p_reasons[i], p_references[i], p_metadata[i]);
    select x.balance into balance from ledger.wallets x where x.id = w.id;
    status := 'spent'; available := null;
    grant_ids := slices.grant_ids; grant_amounts := slices.grant_amounts; created_at := p_now;
    return next;
  end loop;
end $function$;

-- ----------------------------------------------------------------------------------------------------
create schema notifications;

create table notifications.webhook_deliveries (
  id text not null,
  event_id text not null,
  endpoint_id text not null,
  event_type text not null,
  status text not null,
  attempts integer not null default 0,
  attempts_left integer not null,
  next_attempt_at timestamp with time zone,
  last_attempt_at timestamp with time zone,
  result text,
  status_code integer,
  created_at timestamp with time zone not null,
  constraint webhook_deliveries_pkey PRIMARY KEY (id),
  constraint webhook_deliveries_attempts_check CHECK ((attempts >= 0)),
  constraint webhook_deliveries_attempts_left_check CHECK ((attempts_left >= 0)),
  constraint webhook_deliveries_check CHECK (((status = ANY (ARRAY['pending'::text, 'sending'::text])) = (next_attempt_at IS NOT NULL))),
  constraint webhook_deliveries_result_check CHECK ((result = ANY (ARRAY['succeeded'::text, 'failed'::text, 'timeout'::text, 'refused'::text]))),
  constraint webhook_deliveries_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'sending'::text, 'succeeded'::text, 'failed'::text, 'canceled'::text]))),
  constraint webhook_deliveries_status_code_check CHECK (((status_code >= 100) AND (status_code <= 999))),
  constraint webhook_deliveries_endpoint_id_fkey FOREIGN KEY (endpoint_id) REFERENCES notifications.webhook_endpoints(id),
  constraint webhook_deliveries_event_id_fkey FOREIGN KEY (event_id) REFERENCES notifications.webhook_events(id) ON DELETE CASCADE
) with (fillfactor=80);
CREATE INDEX webhook_deliveries_due ON notifications.webhook_deliveries USING btree (endpoint_id, next_attempt_at, id) WHERE (status = ANY (ARRAY['pending'::text, 'sending'::text]));
CREATE INDEX webhook_deliveries_listed ON notifications.webhook_deliveries USING btree (created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_of_endpoint ON notifications.webhook_deliveries USING btree (endpoint_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_of_event ON notifications.webhook_deliveries USING btree (event_id);

create table notifications.webhook_endpoints (
  id text not null,
  url text not null,
  description text not null,
  event_types text[] not null,
  secret text,
  previous_secret text,
  previous_secret_expires_at timestamp with time zone,
  failing_since timestamp with time zone,
  disabled_at timestamp with time zone,
  disabled_reason text,
  deleted_at timestamp with time zone,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint webhook_endpoints_pkey PRIMARY KEY (id),
  constraint webhook_endpoints_check CHECK (((disabled_at IS NULL) = (disabled_reason IS NULL))),
  constraint webhook_endpoints_check1 CHECK (((previous_secret IS NULL) = (previous_secret_expires_at IS NULL))),
  constraint webhook_endpoints_check2 CHECK (((secret IS NULL) = (deleted_at IS NOT NULL))),
  constraint webhook_endpoints_description_check CHECK ((length(description) <= 500)),
  constraint webhook_endpoints_disabled_reason_check CHECK ((disabled_reason = ANY (ARRAY['owner'::text, 'gone'::text, 'failing'::text]))),
  constraint webhook_endpoints_event_types_check CHECK (((cardinality(event_types) >= 1) AND (cardinality(event_types) <= 100))),
  constraint webhook_endpoints_url_check CHECK (((length(url) >= 1) AND (length(url) <= 2000)))
);
CREATE INDEX webhook_endpoints_listed ON notifications.webhook_endpoints USING btree (created_at DESC, id DESC) WHERE (deleted_at IS NULL);

create table notifications.webhook_events (
  id text not null,
  type text not null,
  body text not null,
  created_at timestamp with time zone not null,
  constraint webhook_events_pkey PRIMARY KEY (id)
);
CREATE INDEX webhook_events_old ON notifications.webhook_events USING btree (created_at);

-- ----------------------------------------------------------------------------------------------------
create schema orders;

create table orders.fulfilments (
  order_id text not null,
  payment_id text not null,
  created_at timestamp with time zone not null,
  is_repeat boolean not null default false,
  constraint fulfilments_pkey PRIMARY KEY (payment_id),
  constraint fulfilments_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders.orders(id)
);
CREATE INDEX fulfilments_by_order ON orders.fulfilments USING btree (order_id);
CREATE UNIQUE INDEX fulfilments_order ON orders.fulfilments USING btree (order_id) WHERE (NOT is_repeat);

create table orders.lines (
  id text not null,
  order_id text not null,
  "position" smallint not null,
  price_id text not null,
  product_id text not null,
  product_version_id text not null,
  name text not null,
  quantity bigint not null,
  unit_amount bigint not null,
  amount bigint not null,
  grants jsonb not null,
  constraint lines_pkey PRIMARY KEY (id),
  constraint lines_order_id_position_key UNIQUE (order_id, "position"),
  constraint lines_check CHECK ((amount = (unit_amount * quantity))),
  constraint lines_quantity_check CHECK (((quantity >= 1) AND (quantity <= 1000))),
  constraint lines_unit_amount_check CHECK ((unit_amount > 0)),
  constraint lines_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders.orders(id)
);

create table orders.orders (
  id text not null,
  customer_id text not null,
  status text not null,
  total bigint not null,
  currency text not null,
  gateway text not null,
  payment_id text,
  return_url text not null,
  receipt_contact jsonb,
  locale text not null default 'en'::text,
  metadata jsonb not null default '{}'::jsonb,
  expires_at timestamp with time zone not null,
  created_at timestamp with time zone not null,
  fulfilled_at timestamp with time zone,
  updated_at timestamp with time zone not null,
  constraint orders_pkey PRIMARY KEY (id),
  constraint orders_status_check CHECK ((status = ANY (ARRAY['open'::text, 'fulfilled'::text, 'canceled'::text, 'expired'::text]))),
  constraint orders_total_check CHECK ((total > 0))
) with (fillfactor=80);
CREATE INDEX orders_created ON orders.orders USING btree (created_at DESC, id DESC);
CREATE INDEX orders_customer ON orders.orders USING btree (customer_id, created_at DESC, id DESC);
CREATE INDEX orders_open ON orders.orders USING btree (expires_at) WHERE (status = 'open'::text);

create table orders.refund_revocations (
  refund_id text not null,
  customer_id text not null,
  unit text not null,
  grant_id text not null,
  amount bigint not null,
  shortfall bigint not null default 0,
  undone_at timestamp with time zone,
  created_at timestamp with time zone not null,
  share bigint not null default 0,
  uncovered bigint not null default 0,
  constraint refund_revocations_pkey PRIMARY KEY (refund_id, grant_id),
  constraint refund_revocations_amount_check CHECK ((amount >= 0)),
  constraint refund_revocations_share_check CHECK ((share >= 0)),
  constraint refund_revocations_shortfall_check CHECK ((shortfall >= 0)),
  constraint refund_revocations_uncovered_check CHECK ((uncovered >= 0))
);
CREATE INDEX refund_revocations_grant ON orders.refund_revocations USING btree (grant_id) WHERE (undone_at IS NULL);

-- ----------------------------------------------------------------------------------------------------
create schema payments;

create table payments.differences (
  id text not null,
  gateway text not null,
  kind text not null,
  subject_id text,
  external_id text,
  ours text not null,
  theirs text not null,
  proposed text not null,
  status text not null default 'open'::text,
  note text,
  resolved_by text,
  resolved_at timestamp with time zone,
  created_at timestamp with time zone not null,
  last_found_at timestamp with time zone not null,
  constraint differences_pkey PRIMARY KEY (id),
  constraint differences_check CHECK (((status = 'resolved'::text) = ((resolved_at IS NOT NULL) AND (note IS NOT NULL) AND (resolved_by IS NOT NULL)))),
  constraint differences_status_check CHECK ((status = ANY (ARRAY['open'::text, 'resolved'::text])))
);
CREATE UNIQUE INDEX differences_once ON payments.differences USING btree (gateway, kind, COALESCE(subject_id, ''::text), COALESCE(external_id, ''::text), ours, theirs);
CREATE INDEX differences_open ON payments.differences USING btree (gateway, created_at) WHERE (status = 'open'::text);

create table payments.disputes (
  id text not null,
  payment_id text not null,
  external_id text not null,
  status text not null,
  amount bigint not null,
  currency text not null,
  reason text not null,
  created_at timestamp with time zone not null,
  closed_at timestamp with time zone,
  updated_at timestamp with time zone not null,
  constraint disputes_pkey PRIMARY KEY (id),
  constraint disputes_amount_check CHECK ((amount > 0)),
  constraint disputes_check CHECK (((status = 'open'::text) = (closed_at IS NULL))),
  constraint disputes_status_check CHECK ((status = ANY (ARRAY['open'::text, 'won'::text, 'lost'::text]))),
  constraint disputes_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments.payments(id)
);
CREATE INDEX disputes_created ON payments.disputes USING btree (created_at DESC, id DESC);
CREATE UNIQUE INDEX disputes_external ON payments.disputes USING btree (payment_id, external_id);

create table payments.findings (
  reconciliation_id text not null,
  difference_id text not null,
  constraint findings_pkey PRIMARY KEY (reconciliation_id, difference_id),
  constraint findings_difference_id_fkey FOREIGN KEY (difference_id) REFERENCES payments.differences(id),
  constraint findings_reconciliation_id_fkey FOREIGN KEY (reconciliation_id) REFERENCES payments.reconciliations(id)
);

create table payments.gateway_settings (
  gateway text not null,
  is_enabled boolean not null default true,
  "position" integer not null default 100,
  sealed text not null,
  updated_at timestamp with time zone not null,
  constraint gateway_settings_pkey PRIMARY KEY (gateway)
);

create table payments.inbox (
  id bigint not null generated always as identity,
  gateway text not null,
  external_event_id text not null,
  type text not null,
  trust text not null,
  event jsonb not null,
  raw_body bytea,
  remote_address text,
  status text not null default 'received'::text,
  outcome text,
  repeats integer not null default 0,
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null,
  error text,
  received_at timestamp with time zone not null,
  handled_at timestamp with time zone,
  opened_at timestamp with time zone,
  constraint inbox_pkey PRIMARY KEY (id),
  constraint inbox_gateway_external_event_id_key UNIQUE (gateway, external_event_id),
  constraint inbox_status_check CHECK ((status = ANY (ARRAY['received'::text, 'handling'::text, 'handled'::text, 'failed'::text]))),
  constraint inbox_trust_check CHECK ((trust = ANY (ARRAY['signed'::text, 'hint'::text])))
) with (fillfactor=70);
CREATE INDEX inbox_failed ON payments.inbox USING btree (id) WHERE (status = 'failed'::text);
CREATE INDEX inbox_open ON payments.inbox USING btree (next_attempt_at, id) WHERE (status = ANY (ARRAY['received'::text, 'handling'::text]));

create table payments.payments (
  id text not null,
  number integer not null generated always as identity,
  order_id text not null,
  customer_id text not null,
  gateway text not null,
  is_test boolean not null,
  status text not null,
  amount bigint not null,
  currency text not null,
  captured_amount bigint not null default 0,
  refunded_amount bigint not null default 0,
  fee bigint,
  external_id text,
  checkout_url text,
  description text not null,
  return_url text not null,
  may_capture_now boolean not null default true,
  has_save_consent boolean not null default false,
  method text,
  saved_method_id text,
  locale text not null default 'en'::text,
  telegram_id bigint,
  email text,
  receipt jsonb,
  failure_reason text,
  mismatch_reason text,
  mismatch jsonb,
  expires_at timestamp with time zone not null,
  next_check_at timestamp with time zone,
  check_attempts integer not null default 0,
  created_at timestamp with time zone not null,
  authorized_at timestamp with time zone,
  succeeded_at timestamp with time zone,
  finished_at timestamp with time zone,
  updated_at timestamp with time zone not null,
  open_asks integer not null default 0,
  fee_currency text,
  consent_text text,
  repeats_payment_id text,
  repeat_kind text,
  subscription_period_seconds integer,
  is_fiscal boolean not null default false,
  vendor_subscription_id text,
  asking_until timestamp with time zone,
  constraint payments_pkey PRIMARY KEY (id),
  constraint payments_number_key UNIQUE (number),
  constraint payments_amount_check CHECK ((amount > 0)),
  constraint payments_captured_within CHECK (((captured_amount >= 0) AND ((captured_amount <= amount) OR (status = 'mismatch'::text)))),
  constraint payments_check1 CHECK (((refunded_amount >= 0) AND (refunded_amount <= captured_amount))),
  constraint payments_check2 CHECK ((((status = 'mismatch'::text) = (mismatch_reason IS NOT NULL)) OR (status <> 'mismatch'::text))),
  constraint payments_check3 CHECK (((status <> ALL (ARRAY['succeeded'::text, 'partially_refunded'::text, 'refunded'::text])) OR (captured_amount > 0))),
  constraint payments_open_asks_check CHECK ((open_asks >= 0)),
  constraint payments_repeat CHECK (((repeats_payment_id IS NULL) = (repeat_kind IS NULL))),
  constraint payments_repeat_kind_check CHECK ((repeat_kind = ANY (ARRAY['paid_again'::text, 'renewal'::text]))),
  constraint payments_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'requires_action'::text, 'authorized'::text, 'unknown'::text, 'expired'::text, 'failed'::text, 'canceled'::text, 'mismatch'::text, 'succeeded'::text, 'partially_refunded'::text, 'refunded'::text]))),
  constraint payments_subscription_period_seconds_check CHECK ((subscription_period_seconds > 0)),
  constraint payments_repeats_payment_id_fkey FOREIGN KEY (repeats_payment_id) REFERENCES payments.payments(id),
  constraint payments_vendor_subscription_id_fkey FOREIGN KEY (vendor_subscription_id) REFERENCES payments.vendor_subscriptions(id)
) with (fillfactor=70);
CREATE INDEX payments_created ON payments.payments USING btree (created_at DESC, id DESC);
CREATE INDEX payments_customer ON payments.payments USING btree (customer_id, created_at DESC, id DESC);
CREATE INDEX payments_due ON payments.payments USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE UNIQUE INDEX payments_external ON payments.payments USING btree (gateway, external_id) WHERE (external_id IS NOT NULL);
CREATE INDEX payments_open_charges ON payments.payments USING btree (saved_method_id) WHERE ((saved_method_id IS NOT NULL) AND (status = ANY (ARRAY['pending'::text, 'unknown'::text])));
CREATE INDEX payments_order ON payments.payments USING btree (order_id);
CREATE INDEX payments_paid_by ON payments.payments USING btree (customer_id, succeeded_at DESC) WHERE (succeeded_at IS NOT NULL);
CREATE INDEX payments_repeats ON payments.payments USING btree (repeats_payment_id) WHERE (repeats_payment_id IS NOT NULL);
CREATE INDEX payments_review ON payments.payments USING btree (updated_at) WHERE (status = 'mismatch'::text);

create table payments.receipts (
  id text not null,
  kind text not null,
  purpose text not null,
  payment_id text not null,
  refund_id text,
  order_id text not null,
  customer_id text not null,
  gateway text not null,
  is_test boolean not null,
  status text not null,
  registrar text not null,
  amount bigint not null,
  currency text not null,
  contact jsonb,
  items jsonb not null,
  tax_system smallint,
  external_id text,
  fiscal_document text,
  fiscal_storage text,
  fiscal_attribute text,
  registered_at timestamp with time zone,
  failure_reason text,
  round integer not null default 1,
  attempts integer not null default 0,
  retried_at timestamp with time zone,
  next_attempt_at timestamp with time zone,
  offset_check_at timestamp with time zone,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint receipts_pkey PRIMARY KEY (id),
  constraint receipts_amount_check CHECK ((amount > 0)),
  constraint receipts_check CHECK (((kind = 'refund'::text) = (purpose = 'refund'::text))),
  constraint receipts_check1 CHECK (((kind = 'refund'::text) = (refund_id IS NOT NULL))),
  constraint receipts_check2 CHECK (((offset_check_at IS NULL) OR (purpose = 'prepayment'::text))),
  constraint receipts_check3 CHECK (((status = ANY (ARRAY['pending'::text, 'unknown'::text, 'sent'::text])) OR (next_attempt_at IS NULL))),
  constraint receipts_kind_check CHECK ((kind = ANY (ARRAY['payment'::text, 'refund'::text]))),
  constraint receipts_purpose_check CHECK ((purpose = ANY (ARRAY['full'::text, 'prepayment'::text, 'offset'::text, 'refund'::text]))),
  constraint receipts_registrar_check CHECK ((registrar = ANY (ARRAY['operation'::text, 'apart'::text, 'person'::text]))),
  constraint receipts_round_check CHECK ((round >= 1)),
  constraint receipts_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'unknown'::text, 'sent'::text, 'registered'::text, 'failed'::text, 'manual'::text]))),
  constraint receipts_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments.payments(id),
  constraint receipts_refund_id_fkey FOREIGN KEY (refund_id) REFERENCES payments.refunds(id)
);
CREATE INDEX receipts_created ON payments.receipts USING btree (created_at DESC, id DESC);
CREATE INDEX receipts_customer ON payments.receipts USING btree (customer_id);
CREATE INDEX receipts_due ON payments.receipts USING btree (next_attempt_at) WHERE (next_attempt_at IS NOT NULL);
CREATE UNIQUE INDEX receipts_first ON payments.receipts USING btree (payment_id) WHERE (purpose = ANY (ARRAY['full'::text, 'prepayment'::text]));
CREATE UNIQUE INDEX receipts_offset ON payments.receipts USING btree (payment_id) WHERE (purpose = 'offset'::text);
CREATE INDEX receipts_offset_due ON payments.receipts USING btree (offset_check_at) WHERE (offset_check_at IS NOT NULL);
CREATE INDEX receipts_order ON payments.receipts USING btree (order_id);
CREATE INDEX receipts_payment ON payments.receipts USING btree (payment_id, created_at);
CREATE UNIQUE INDEX receipts_refund ON payments.receipts USING btree (refund_id) WHERE (purpose = 'refund'::text);
CREATE INDEX receipts_review ON payments.receipts USING btree (updated_at) WHERE (status = ANY (ARRAY['failed'::text, 'manual'::text]));

create table payments.reconciliations (
  id text not null,
  gateway text not null,
  from_at timestamp with time zone not null,
  to_at timestamp with time zone not null,
  status text not null,
  method text,
  payments_here integer not null default 0,
  payments_at_vendor integer not null default 0,
  refunds_here integer not null default 0,
  refunds_at_vendor integer not null default 0,
  error text,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint reconciliations_pkey PRIMARY KEY (id),
  constraint reconciliations_gateway_from_at_to_at_key UNIQUE (gateway, from_at, to_at),
  constraint reconciliations_check CHECK ((to_at > from_at)),
  constraint reconciliations_method_check CHECK ((method = ANY (ARRAY['list'::text, 'one_by_one'::text]))),
  constraint reconciliations_status_check CHECK ((status = ANY (ARRAY['done'::text, 'failed'::text])))
);
CREATE INDEX reconciliations_created ON payments.reconciliations USING btree (created_at DESC, id DESC);

create table payments.refunds (
  id text not null,
  payment_id text not null,
  status text not null,
  amount bigint not null,
  currency text not null,
  reason text not null,
  origin text not null,
  is_full boolean not null,
  external_id text,
  receipt jsonb,
  breakdown jsonb,
  failure_reason text,
  requested_by text not null,
  next_check_at timestamp with time zone,
  check_attempts integer not null default 0,
  created_at timestamp with time zone not null,
  finished_at timestamp with time zone,
  updated_at timestamp with time zone not null,
  revision integer not null default 0,
  asking_until timestamp with time zone,
  constraint refunds_pkey PRIMARY KEY (id),
  constraint refunds_amount_check CHECK ((amount > 0)),
  constraint refunds_origin_check CHECK ((origin = ANY (ARRAY['api'::text, 'vendor'::text]))),
  constraint refunds_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'unknown'::text, 'succeeded'::text, 'failed'::text]))),
  constraint refunds_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments.payments(id)
);
CREATE INDEX refunds_created ON payments.refunds USING btree (created_at DESC, id DESC);
CREATE INDEX refunds_due ON payments.refunds USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE UNIQUE INDEX refunds_external ON payments.refunds USING btree (payment_id, external_id) WHERE (external_id IS NOT NULL);
CREATE INDEX refunds_payment ON payments.refunds USING btree (payment_id, created_at);

create table payments.saved_methods (
  id text not null,
  customer_id text not null,
  gateway text not null,
  external_id text not null,
  customer_external_id text,
  kind text not null,
  title text not null,
  is_test boolean not null,
  consented_at timestamp with time zone not null,
  expires_at timestamp with time zone,
  removed_at timestamp with time zone,
  created_at timestamp with time zone not null,
  consent_text text,
  consent_locale text,
  forgotten_at timestamp with time zone,
  next_forget_at timestamp with time zone,
  forget_attempts integer not null default 0,
  constraint saved_methods_pkey PRIMARY KEY (id)
);
CREATE INDEX saved_methods_customer ON payments.saved_methods USING btree (customer_id) WHERE (removed_at IS NULL);
CREATE UNIQUE INDEX saved_methods_external ON payments.saved_methods USING btree (gateway, external_id, customer_id);
CREATE INDEX saved_methods_forget ON payments.saved_methods USING btree (next_forget_at) WHERE (next_forget_at IS NOT NULL);

create table payments.vendor_periods (
  gateway text not null,
  external_id text not null,
  period_id text not null,
  created_at timestamp with time zone not null,
  constraint vendor_periods_pkey PRIMARY KEY (gateway, external_id, period_id)
);

create table payments.vendor_subscriptions (
  id text not null,
  customer_id text not null,
  gateway text not null,
  external_id text not null,
  product_code text,
  payment_id text,
  is_test boolean not null,
  status text not null,
  will_renew boolean not null,
  is_trial boolean not null default false,
  amount bigint,
  currency text,
  started_at timestamp with time zone,
  expires_at timestamp with time zone,
  facts jsonb not null default '{}'::jsonb,
  told_at timestamp with time zone not null,
  next_check_at timestamp with time zone,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint vendor_subscriptions_pkey PRIMARY KEY (id),
  constraint vendor_subscriptions_gateway_external_id_key UNIQUE (gateway, external_id),
  constraint vendor_subscriptions_amount_check CHECK ((amount >= 0)),
  constraint vendor_subscriptions_check CHECK (((status = 'active'::text) <= will_renew)),
  constraint vendor_subscriptions_status_check CHECK ((status = ANY (ARRAY['active'::text, 'canceled'::text, 'expired'::text]))),
  constraint vendor_subscriptions_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments.payments(id)
) with (fillfactor=80);
CREATE INDEX vendor_subscriptions_created ON payments.vendor_subscriptions USING btree (created_at DESC, id DESC);
CREATE INDEX vendor_subscriptions_customer ON payments.vendor_subscriptions USING btree (customer_id, created_at DESC, id DESC);
CREATE INDEX vendor_subscriptions_due ON payments.vendor_subscriptions USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE INDEX vendor_subscriptions_payment ON payments.vendor_subscriptions USING btree (payment_id) WHERE (payment_id IS NOT NULL);

-- ----------------------------------------------------------------------------------------------------
create schema usage;

create table usage.meter_events (
  id text not null,
  event_id text not null,
  customer_id text not null,
  meter text not null,
  provider text,
  mode text,
  session_id text,
  duration_ms bigint not null,
  channels smallint not null,
  billable_ms bigint not null,
  amount bigint not null,
  unit text not null,
  spend_id text,
  slices jsonb not null,
  balance_after bigint not null,
  rate_card_id text,
  cost_nano bigint,
  cost_currency text,
  occurred_at timestamp with time zone not null,
  created_at timestamp with time zone not null,
  input_digest bytea not null,
  constraint meter_events_pkey PRIMARY KEY (id),
  constraint meter_events_customer_id_meter_event_id_key UNIQUE (customer_id, meter, event_id),
  constraint meter_events_amount_check CHECK ((amount >= 0)),
  constraint meter_events_billable_ms_check CHECK ((billable_ms >= 0)),
  constraint meter_events_duration_ms_check CHECK ((duration_ms >= 0)),
  constraint meter_events_meter_fkey FOREIGN KEY (meter) REFERENCES usage.meters(code),
  constraint meter_events_rate_card_id_fkey FOREIGN KEY (rate_card_id) REFERENCES usage.rate_cards(id)
);
CREATE INDEX meter_events_created ON usage.meter_events USING btree (created_at DESC, id DESC);
CREATE INDEX meter_events_customer ON usage.meter_events USING btree (customer_id, created_at DESC, id DESC);

create table usage.meters (
  code text not null,
  name text not null,
  unit text not null,
  part_ms bigint not null,
  increment_ms bigint not null,
  minimum_ms bigint not null,
  channel_group smallint not null default 1,
  round_per text not null,
  empty_increments smallint not null default 0,
  is_active boolean not null default true,
  created_at timestamp with time zone not null,
  updated_at timestamp with time zone not null,
  constraint meters_pkey PRIMARY KEY (code),
  constraint meters_channel_group_check CHECK (((channel_group >= 1) AND (channel_group <= 16))),
  constraint meters_empty_increments_check CHECK (((empty_increments >= 0) AND (empty_increments <= 10))),
  constraint meters_increment_ms_check CHECK ((increment_ms > 0)),
  constraint meters_minimum_ms_check CHECK ((minimum_ms >= 0)),
  constraint meters_part_ms_check CHECK ((part_ms > 0)),
  constraint meters_round_per_check CHECK ((round_per = ANY (ARRAY['request'::text, 'session'::text])))
);

create table usage.rate_cards (
  id text not null,
  provider text not null,
  mode text not null,
  increment_ms bigint not null,
  minimum_ms bigint not null,
  channel_group smallint not null default 1,
  round_per text not null,
  empty_increments smallint not null default 0,
  nano_per_increment bigint not null,
  currency text not null,
  as_of date not null,
  source text not null,
  effective_from timestamp with time zone not null,
  effective_to timestamp with time zone,
  created_at timestamp with time zone not null,
  constraint rate_cards_pkey PRIMARY KEY (id),
  constraint rate_cards_channel_group_check CHECK (((channel_group >= 1) AND (channel_group <= 16))),
  constraint rate_cards_increment_ms_check CHECK ((increment_ms > 0)),
  constraint rate_cards_minimum_ms_check CHECK ((minimum_ms >= 0)),
  constraint rate_cards_nano_per_increment_check CHECK ((nano_per_increment >= 0)),
  constraint rate_cards_round_per_check CHECK ((round_per = ANY (ARRAY['request'::text, 'session'::text])))
);
CREATE INDEX rate_cards_lookup ON usage.rate_cards USING btree (provider, mode, effective_from DESC);
CREATE UNIQUE INDEX rate_cards_once ON usage.rate_cards USING btree (provider, mode, effective_from);

create table usage.sessions (
  customer_id text not null,
  meter text not null,
  session_id text not null,
  channels smallint not null,
  duration_ms bigint not null,
  billed_ms bigint not null,
  cost_ms bigint not null default 0,
  updated_at timestamp with time zone not null,
  constraint sessions_pkey PRIMARY KEY (customer_id, meter, session_id),
  constraint sessions_meter_fkey FOREIGN KEY (meter) REFERENCES usage.meters(code)
);
