-- Fiscal receipts (54-FZ) as things of their own: what was told to the tax office about which money.
alter table payments.payments add column is_fiscal boolean not null default false;

create table payments.receipts (
  id text primary key,
  kind text not null check (kind in ('payment', 'refund')),
  purpose text not null check (purpose in ('full', 'prepayment', 'offset', 'refund')),
  payment_id text not null references payments.payments (id),
  refund_id text references payments.refunds (id),
  order_id text not null,
  customer_id text not null,
  gateway text not null,
  is_test boolean not null,
  status text not null check (status in ('pending', 'unknown', 'sent', 'registered', 'failed', 'manual')),
  -- 'operation': the call of the payment or refund carried it. 'apart': by a call of its own.
  registrar text not null check (registrar in ('operation', 'apart', 'person')),
  amount bigint not null check (amount > 0),
  currency text not null,
  -- Null when the buyer was forgotten.
  contact jsonb,
  -- Frozen lines; they add up to the amount.
  items jsonb not null,
  tax_system smallint,
  external_id text,
  fiscal_document text,
  fiscal_storage text,
  fiscal_attribute text,
  registered_at timestamptz,
  failure_reason text,
  -- Counts what a person had sent again after a refusal: each round has a key of its own at the vendor.
  round int not null default 1 check (round >= 1),
  attempts int not null default 0,
  -- When a person had it sent again.
  retried_at timestamptz,
  next_attempt_at timestamptz,
  -- Of a prepayment: when to look next whether what it paid for was given. Null: nothing is left to offset.
  offset_check_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  check ((kind = 'refund') = (purpose = 'refund')),
  check ((kind = 'refund') = (refund_id is not null)),
  check (offset_check_at is null or purpose = 'prepayment'),
  check (status in ('pending', 'unknown', 'sent') or next_attempt_at is null)
);
-- One receipt of money taken, one offset of it, one of each refund: whatever happens, never a second.
create unique index receipts_first on payments.receipts (payment_id) where purpose in ('full', 'prepayment');
create unique index receipts_offset on payments.receipts (payment_id) where purpose = 'offset';
create unique index receipts_refund on payments.receipts (refund_id) where purpose = 'refund';
create index receipts_payment on payments.receipts (payment_id, created_at);
create index receipts_order on payments.receipts (order_id);
create index receipts_customer on payments.receipts (customer_id);
create index receipts_created on payments.receipts (created_at desc, id desc);
create index receipts_due on payments.receipts (next_attempt_at) where next_attempt_at is not null;
create index receipts_offset_due on payments.receipts (offset_check_at) where offset_check_at is not null;
create index receipts_review on payments.receipts (updated_at) where status in ('failed', 'manual');
