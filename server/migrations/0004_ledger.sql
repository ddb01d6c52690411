-- The ledger: units, wallets, grants, holds, transfers. What it means: server/src/modules/ledger/README.md.
-- Every figure in wallets, grants and holds can be computed from transfers; transfers are only ever added.

create schema ledger;

create table ledger.units (
  code text primary key check (code ~ '^[A-Za-z][A-Za-z0-9_]{0,31}$'),
  -- How many smallest parts make one shown unit: 60 for a minute kept in seconds, 100 for rubles in kopecks.
  scale bigint not null check (scale > 0 and scale <= 1000000000000),
  name text not null,
  translations jsonb not null default '{}',
  kind text not null default 'counted' check (kind in ('counted', 'money')),
  is_debt_allowed boolean not null default false,
  created_at timestamptz not null
);

-- customer_id has no foreign key: one would lock the customer's row whenever a wallet is made, tie the two
-- schemas together when wallets are spread over machines, and the customers module never deletes a row.
create table ledger.wallets (
  id bigint generated always as identity primary key,
  -- Of started grants, held units included.
  balance bigint not null default 0,
  held bigint not null default 0,
  -- Of grants that have not started.
  scheduled bigint not null default 0,
  -- What the customer owes after a forced refund of units he had used.
  debt bigint not null default 0,
  -- Number of the last transfer.
  sequence bigint not null default 0,
  -- The next moment at which time alone changes the balance: a grant ends or starts.
  -- May be earlier than that, never later: a spend that comes before this moment need not look.
  next_expiry timestamptz not null default 'infinity',
  created_at timestamptz not null,
  customer_id text not null,
  unit text not null references ledger.units (code),
  -- The wallet of the customer this one's owner was merged into: what comes back to this one moves on to it.
  merged_into bigint references ledger.wallets (id),
  -- Other wallets were merged into this one; their keys count as its own.
  has_merged boolean not null default false,
  -- Hash of the last transfer.
  chain_hash bytea not null default '\x0000000000000000000000000000000000000000000000000000000000000000',
  constraint wallets_customer_unit unique (customer_id, unit),
  -- The upper limit keeps every figure exact in JSON.
  constraint wallets_amounts check (
    held >= 0 and balance >= held and scheduled >= 0 and debt between 0 and 9007199254740991
    and balance + scheduled <= 9007199254740991)
) with (fillfactor = 50);
create index wallets_merged_into on ledger.wallets (merged_into) where merged_into is not null;
create index wallets_next_expiry on ledger.wallets (next_expiry) where next_expiry < 'infinity';

-- Customers that are no more: whoever still names one means the survivor.
create table ledger.merged_customers (
  customer_id text primary key,
  survivor_id text not null,
  merged_at timestamptz not null,
  check (customer_id <> survivor_id)
);
create index merged_customers_survivor on ledger.merged_customers (survivor_id);

-- What a grant was made with never changes (trigger below); what is left of it does. Checks on the fixed
-- facts stand in the trigger too: a CHECK is read again by every statement that spends.
create table ledger.grants (
  wallet_id bigint not null references ledger.wallets (id),
  -- Sequence of the transfer that made it.
  id bigint not null,
  granted bigint not null,
  remaining bigint not null,
  held bigint not null default 0,
  -- What refunds and disputes took back, less what was reinstated.
  revoked bigint not null default 0,
  -- price_amount was paid for price_units; a part that moved to another wallet keeps the same ratio.
  price_amount bigint,
  price_units bigint,
  starts_at timestamptz not null,
  -- Exclusive: at this moment it no longer counts.
  expires_at timestamptz not null default 'infinity',
  created_at timestamptz not null,
  parent_wallet_id bigint,
  parent_id bigint,
  -- The grant this one was a part of before its owner was merged into another.
  origin_wallet_id bigint,
  origin_id bigint,
  priority smallint not null,
  is_paid boolean not null,
  is_scheduled boolean not null default false,
  -- A column of its own because an index predicate on `remaining` would make every spend write the index.
  is_open boolean not null,
  price_currency text,
  source text not null check (
    source in ('purchase', 'subscription', 'promo', 'bonus', 'referral', 'refund', 'manual', 'transfer')),
  source_id text not null,
  primary key (wallet_id, id),
  constraint grants_source unique (source, source_id),
  constraint grants_parent foreign key (parent_wallet_id, parent_id)
    references ledger.grants (wallet_id, id) match full,
  constraint grants_origin foreign key (origin_wallet_id, origin_id)
    references ledger.grants (wallet_id, id) match full,
  constraint grants_amounts check (
    0 <= held and held <= remaining and 0 <= revoked and remaining + revoked <= granted
    and is_open = (remaining > 0 and not is_scheduled) and not (is_scheduled and (held > 0 or remaining = 0)))
) with (fillfactor = 70);
-- The burn order. Closed grants are not in it, so a thousand of them cost a spend nothing.
create index grants_burn_order
  on ledger.grants (wallet_id, priority, expires_at, is_paid, created_at, id) where is_open;
create index grants_scheduled_start on ledger.grants (wallet_id, starts_at) where is_scheduled;
create index grants_parts on ledger.grants (origin_wallet_id, origin_id) where origin_id is not null;
create index grants_children on ledger.grants (parent_wallet_id, parent_id) where parent_id is not null;

create function ledger.check_grant() returns trigger language plpgsql as $$
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
end $$;
create trigger grants_facts before insert on ledger.grants for each row execute function ledger.check_grant();
create trigger grants_fixed
  before update of wallet_id, id, granted, price_amount, price_units, price_currency, starts_at, expires_at,
    created_at, parent_wallet_id, parent_id, origin_wallet_id, origin_id, priority, is_paid, source, source_id
  on ledger.grants for each row execute function ledger.check_grant();

create table ledger.holds (
  id text primary key,
  wallet_id bigint not null references ledger.wallets (id),
  amount bigint not null check (amount between 1 and 9007199254740991),
  captured bigint not null default 0,
  placed_sequence bigint not null,
  -- The transfer that ended it: capture, late capture, or the release of all of it; a late capture may be
  -- in the wallet this one was merged into.
  closed_wallet_id bigint,
  closed_sequence bigint,
  expires_at timestamptz not null,
  created_at timestamptz not null,
  closed_at timestamptz,
  is_late boolean not null default false,
  status text not null check (status in ('placed', 'captured', 'released', 'expired')),
  reason text,
  reference text,
  metadata jsonb,
  grant_ids bigint[] not null,
  grant_amounts bigint[] not null,
  constraint holds_closed check (
    (status = 'placed') = (closed_sequence is null) and (status = 'placed') = (closed_at is null)
    and (status = 'placed') = (closed_wallet_id is null)),
  constraint holds_captured check (captured between 0 and amount and (captured > 0) = (status = 'captured')),
  constraint holds_late check (not is_late or status = 'captured')
) with (fillfactor = 80);
create index holds_due on ledger.holds (expires_at) where status = 'placed';
create index holds_placed on ledger.holds (wallet_id) where status = 'placed';

-- What a refund or a dispute asked to take from a grant, and what became of it:
-- requested = taken + debt + written_off + reinstated, at any moment.
create table ledger.revocations (
  wallet_id bigint not null,
  key_digest bytea not null check (length(key_digest) = 16),
  input_digest bytea not null check (length(input_digest) = 16),
  grant_id bigint not null,
  requested bigint not null check (requested between 1 and 9007199254740991),
  -- What was done when it was asked, and never changes: taken from this grant and the parts of it that
  -- moved, taken from other grants instead, booked as debt; the rest was written off.
  taken_at_once bigint not null check (taken_at_once >= 0),
  others_at_once bigint not null check (others_at_once >= 0),
  debt_at_once bigint not null check (debt_at_once >= 0),
  -- Taken and not given back: the slices below.
  taken bigint not null check (taken >= 0),
  debt bigint not null default 0 check (debt >= 0),
  -- Neither taken nor owed. What a reversal or a release gives back to the grant goes to it first.
  written_off bigint not null default 0 check (written_off >= 0),
  reinstated bigint not null default 0 check (reinstated >= 0),
  slice_wallet_ids bigint[] not null default '{}',
  slice_grant_ids bigint[] not null default '{}',
  slice_amounts bigint[] not null default '{}',
  reinstated_at timestamptz,
  created_at timestamptz not null,
  actor_id text not null,
  reason text not null,
  reference text,
  primary key (wallet_id, key_digest),
  foreign key (wallet_id, grant_id) references ledger.grants (wallet_id, id),
  check (requested = taken + debt + written_off + reinstated),
  check (taken_at_once + others_at_once + debt_at_once <= requested),
  check ((reinstated_at is null) or reinstated = requested)
);
create index revocations_written_off on ledger.revocations (wallet_id, grant_id) where written_off > 0;
create index revocations_grant on ledger.revocations (wallet_id, grant_id);

-- What each kind of transfer moves, and what that does to the figures kept beside the transfers:
-- amount × sign is added to the grants of its slices and to the wallet.
create table ledger.transfer_kinds (
  kind text primary key,
  from_account text not null,
  to_account text not null,
  grant_remaining smallint not null,
  grant_held smallint not null,
  grant_revoked smallint not null,
  wallet_balance smallint not null,
  wallet_held smallint not null,
  wallet_scheduled smallint not null,
  wallet_debt smallint not null,
  -- Makes the grant it names: the grant's id is the sequence of this transfer.
  is_opening boolean not null,
  -- Units the customer did not have at hand before; they repay a debt first.
  is_inflow boolean not null,
  -- May not touch a grant that has expired.
  is_use boolean not null
);
insert into ledger.transfer_kinds values
  -- kind, from, to, grant: remaining held revoked, wallet: balance held scheduled debt, opening inflow use
  ('grant',                  'issued',      'wallet',       1,  0,  0,  1,  0,  0,  0, true,  true,  false),
  ('grant_schedule',         'issued',      'scheduled',    1,  0,  0,  0,  0,  1,  0, true,  false, false),
  ('grant_start',            'scheduled',   'wallet',       0,  0,  0,  1,  0, -1,  0, false, true,  false),
  ('spend',                  'wallet',      'consumed',    -1,  0,  0, -1,  0,  0,  0, false, false, true),
  ('hold',                   'wallet',      'held',         0,  1,  0,  0,  1,  0,  0, false, false, true),
  ('capture',                'held',        'consumed',    -1, -1,  0, -1, -1,  0,  0, false, false, false),
  ('late_capture',           'wallet',      'consumed',    -1,  0,  0, -1,  0,  0,  0, false, false, true),
  ('release',                'held',        'wallet',       0, -1,  0,  0, -1,  0,  0, false, false, false),
  ('expiry',                 'wallet',      'expired',     -1,  0,  0, -1,  0,  0,  0, false, false, false),
  ('revocation',             'wallet',      'revoked',     -1,  0,  1, -1,  0,  0,  0, false, false, false),
  ('scheduled_revocation',   'scheduled',   'revoked',     -1,  0,  1,  0,  0, -1,  0, false, false, false),
  ('reinstatement',          'revoked',     'wallet',       1,  0, -1,  1,  0,  0,  0, false, true,  false),
  ('scheduled_reinstatement','revoked',    'scheduled',    1,  0, -1,  0,  0,  1,  0, false, false, false),
  ('reversal',               'consumed',    'wallet',       1,  0,  0,  1,  0,  0,  0, false, true,  false),
  ('adjustment_in',          'adjustment',  'wallet',       1,  0,  0,  1,  0,  0,  0, true,  true,  false),
  ('adjustment_out',         'wallet',      'adjustment',  -1,  0,  0, -1,  0,  0,  0, false, false, true),
  ('transfer_in',            'transferred', 'wallet',       1,  0,  0,  1,  0,  0,  0, true,  true,  false),
  ('transfer_out',           'wallet',      'transferred', -1,  0,  0, -1,  0,  0,  0, false, false, true),
  ('scheduled_transfer_in',  'transferred', 'scheduled',    1,  0,  0,  0,  0,  1,  0, true,  false, false),
  ('scheduled_transfer_out', 'scheduled',   'transferred', -1,  0,  0,  0,  0, -1,  0, false, false, false),
  ('debt',                   'debt',        'revoked',      0,  0,  0,  0,  0,  0,  1, false, false, false),
  ('debt_repayment',         'wallet',      'debt',        -1,  0,  0, -1,  0,  0, -1, false, false, false),
  ('debt_cancellation',      'revoked',     'debt',         0,  0,  0,  0,  0,  0, -1, false, false, false),
  ('debt_write_off',         'adjustment',  'debt',         0,  0,  0,  0,  0,  0, -1, false, false, false),
  ('debt_transfer_in',       'debt',        'transferred',  0,  0,  0,  0,  0,  0,  1, false, false, false),
  ('debt_transfer_out',      'transferred', 'debt',         0,  0,  0,  0,  0,  0, -1, false, false, false);

-- Append-only. Foreign keys and further indexes are left out on purpose: each costs the spend about a fifth;
-- `kopilka verify` looks for what they would have held.
create table ledger.transfers (
  wallet_id bigint not null,
  sequence bigint not null,
  amount bigint not null,
  balance_after bigint not null,
  held_after bigint not null,
  created_at timestamptz not null,
  -- The transfer of the same wallet, or of related_wallet_id, that this one undoes, continues or answers.
  related_sequence bigint,
  related_wallet_id bigint,
  kind text not null,
  -- Which grants it took from or gave to, and how much each. Empty where no grant is touched (debt).
  grant_ids bigint[] not null,
  grant_amounts bigint[] not null,
  -- SHA-256 of actor and idempotency key, and of what was asked: 16 bytes each. Null on rows that follow
  -- from others.
  key_digest bytea,
  input_digest bytea,
  -- SHA-256 of the previous transfer's hash and this row's canonical text: ledger.canonical_transfer.
  hash bytea not null,
  actor_id text,
  reason text,
  reference text,
  hold_id text,
  metadata jsonb,
  primary key (wallet_id, sequence),
  constraint transfers_amounts check (
    amount between 1 and 9007199254740991 and 0 <= held_after and held_after <= balance_after)
);
create unique index transfers_key on ledger.transfers (wallet_id, key_digest) where key_digest is not null;
create index transfers_related on ledger.transfers (wallet_id, related_sequence)
  where related_sequence is not null;

create function ledger.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'ledger.transfers is append-only: correct by a reversing transfer' using errcode = 'LE001';
end $$;
create trigger transfers_append_only before update or delete or truncate on ledger.transfers
  for each statement execute function ledger.refuse_change();
revoke update, delete, truncate on ledger.transfers from current_user;

-- Both sides of every transfer: what leaves one account enters another, so each wallet's entries sum to
-- nothing.
create view ledger.entries as
  select t.wallet_id, t.sequence, side.account, side.amount, t.kind, t.created_at
  from ledger.transfers t
  join ledger.transfer_kinds k on k.kind = t.kind
  cross join lateral (values (k.from_account, -t.amount), (k.to_account, t.amount)) side (account, amount);
