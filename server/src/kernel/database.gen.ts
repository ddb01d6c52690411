/**
 * The types of every table, made from the migrated database by `npm run gen types`. Not to be edited.
 * bigint columns are bigint, moments are Date, dates are text. A column whose CHECK lists its values is their
 * union. A JSON column is read as unknown; it is written as an object or as JSON text. An array must be
 * written as text: the driver would send it as a PostgreSQL array.
 */
import type { ColumnType } from "kysely";

export type ArrayType<T> = ArrayTypeImpl<T> extends (infer U)[]
  ? U[]
  : ArrayTypeImpl<T>;

export type ArrayTypeImpl<T> = T extends ColumnType<infer S, infer I, infer U>
  ? ColumnType<S[], I[], U[]>
  : T[];

export type Generated<T> = T extends ColumnType<infer S, infer I, infer U>
  ? ColumnType<S, I | undefined, U>
  : ColumnType<T, T | undefined, T>;

export type Json = ColumnType<unknown, JsonInput, JsonInput>;

export type JsonInput = string | (object & { length?: never });

export interface AdminApprovalLimits {
  amount: bigint;
  kind: "adjustment" | "refund";
  measure: string;
  updated_at: Date;
  updated_by: string;
}

export interface AdminApprovals {
  amount: bigint;
  decided_at: Date | null;
  decided_by: string | null;
  decision_note: string | null;
  done_at: Date | null;
  expires_at: Date;
  id: string;
  input: Json;
  kind: "adjustment" | "refund";
  measure: string;
  reason: string;
  requested_at: Date;
  requested_by: string;
  requested_by_user: string | null;
  resource_id: string;
  status: "pending" | "approved" | "rejected" | "expired";
}

export interface AdminLoneActs {
  amount: bigint;
  created_at: Date;
  customer_id: string;
  id: ColumnType<bigint, never, never>;
  kind: "adjustment" | "refund";
  measure: string;
  person_id: string;
}

export interface CatalogPrices {
  amount: bigint;
  created_at: Date;
  currency: string;
  deactivated_at: Date | null;
  id: string;
  is_active: Generated<boolean>;
  metadata: Generated<Json>;
  product_id: string;
}

export interface CatalogProductGrants {
  amount: bigint;
  is_paid: boolean;
  position: number;
  priority: number;
  product_version_id: string;
  source: "purchase" | "bonus";
  unit: string;
  validity_days: number | null;
}

export interface CatalogProducts {
  created_at: Date;
  description: string | null;
  descriptions: Generated<Json>;
  id: string;
  is_active: Generated<boolean>;
  key: string;
  kind: string;
  metadata: Generated<Json>;
  name: string;
  names: Generated<Json>;
  position: Generated<number>;
  updated_at: Date;
  version: Generated<number>;
  visible_from: Date | null;
  visible_until: Date | null;
}

export interface CatalogProductVersions {
  created_at: Date;
  id: string;
  product_id: string;
  version: number;
}

export interface CustomersCustomers {
  country: string | null;
  created_at: Date;
  email: string | null;
  erased_at: Date | null;
  external_id: string | null;
  id: string;
  locale: string | null;
  merged_into: string | null;
  metadata: Generated<Json>;
  name: string | null;
  phone: string | null;
  search: string;
  telegram_id: bigint | null;
  updated_at: Date;
}

export interface CustomersInvitations {
  accepted_at: Date | null;
  accepted_by: string | null;
  created_at: Date;
  email: string | null;
  expires_at: Date;
  id: string;
  invited_by: string;
  organization_id: string;
  revoked_at: Date | null;
  role: "owner" | "admin" | "member" | "viewer";
  token_digest: Buffer;
}

export interface CustomersMemberLimits {
  amount: bigint;
  member_id: string;
  period: "day" | "month" | "total";
  period_start: Date;
  unit: string;
  updated_at: Date;
  used: Generated<bigint>;
}

export interface CustomersMembers {
  created_at: Date;
  id: string;
  organization_id: string;
  role: "owner" | "admin" | "member" | "viewer";
  updated_at: Date;
  user_id: string;
}

export interface CustomersOrganizations {
  closed_at: Date | null;
  created_at: Date;
  created_by: string;
  customer_id: string;
  id: string;
  name: string;
  updated_at: Date;
}

export interface IdentityApiKeys {
  created_at: Date;
  created_by: string;
  expires_at: Date | null;
  hint: string;
  id: string;
  last_used_at: Date | null;
  mode: "sandbox" | "live";
  name: string;
  rate_limit_per_minute: number | null;
  revoked_at: Date | null;
  scopes: string[];
  secret_digest: Buffer;
}

export interface IdentityAttempts {
  full_at: Date;
  key_digest: Buffer;
}

export interface IdentityAuditHead {
  hash: Buffer;
  is_only: Generated<boolean>;
  sequence: bigint;
}

export interface IdentityAuditLog {
  action: string;
  actor_id: string;
  actor_kind: "key" | "user" | "anonymous" | "program";
  address: string | null;
  after: Json | null;
  before: Json | null;
  created_at: Date;
  hash: Buffer;
  impersonator_id: string | null;
  reason: string | null;
  request_id: string | null;
  sequence: bigint;
  subject_id: string | null;
}

export interface IdentityBenefitClaims {
  benefit: string;
  created_at: Date;
  digest: Buffer;
}

export interface IdentityBenefitKey {
  created_at: Date;
  is_only: Generated<boolean>;
  key_sealed: string;
}

export interface IdentityDevices {
  device_id: string;
  first_seen_at: Date;
  last_seen_at: Date;
  name: string | null;
  user_id: string;
}

export interface IdentityIdentities {
  created_at: Date;
  facts: Generated<Json>;
  id: string;
  last_used_at: Date;
  provider: "telegram" | "google" | "vk";
  subject: string;
  user_id: string;
}

export interface IdentityOneTimeProofs {
  attempts: Generated<number>;
  created_at: Date;
  digest: Buffer;
  expires_at: Date;
  facts: Generated<Json>;
  kind: string;
  subject: string | null;
  used_at: Date | null;
  user_id: string | null;
}

export interface IdentityRefreshTokens {
  created_at: Date;
  digest: Buffer;
  generation: number;
  salt: Buffer;
  session_id: string;
  used_at: Date | null;
}

export interface IdentityRoles {
  code: string;
  created_at: Generated<Date>;
  created_by: string;
  is_built_in: Generated<boolean>;
  name: string;
  permissions: string[];
  updated_at: Date | null;
}

export interface IdentitySessions {
  cookie_digest: Buffer | null;
  created_at: Date;
  device_id: string | null;
  device_name: string | null;
  ended_at: Date | null;
  ended_because: string | null;
  expires_at: Date;
  generation: Generated<number>;
  id: string;
  impersonator_id: string | null;
  last_used_at: Date;
  methods: string[];
  mode: "bearer" | "cookie";
  network: string;
  user_id: string;
}

export interface IdentitySetupTokens {
  created_at: Date;
  digest: Buffer;
  expires_at: Date;
  used_at: Date | null;
}

export interface IdentitySigningKeys {
  algorithm: string;
  created_at: Date;
  kid: string;
  private_sealed: string;
  public_jwk: Json;
}

export interface IdentityStaff {
  appointed_by: string;
  created_at: Date;
  role: string;
  updated_at: Date;
  user_id: string;
}

export interface IdentityTotpSecrets {
  confirmed_at: Date | null;
  created_at: Date;
  last_step: Generated<bigint>;
  recovery_digests: Generated<ArrayType<Buffer>>;
  secret_sealed: string;
  user_id: string;
}

export interface IdentityUsers {
  created_at: Date;
  customer_id: string | null;
  email: string | null;
  email_verified_at: Date | null;
  erased_at: Date | null;
  id: string;
  is_disabled: Generated<boolean>;
  locale: string | null;
  merged_into: string | null;
  name: string | null;
  password_changed_at: Date | null;
  password_hash: string | null;
  updated_at: Date;
}

export interface KernelFunctionFiles {
  applied_at: Generated<Date>;
  digest: string;
  name: string;
}

export interface KernelIdempotencyKeys {
  actor_id: string;
  answer: string | null;
  created_at: Date;
  input_digest: Buffer;
  key: string;
  leased_until: Date | null;
  resource_id: string | null;
  route: string;
  status: number | null;
}

export interface KernelMigrations {
  applied_at: Generated<Date>;
  digest: string;
  name: string;
  number: number;
}

export interface KernelSettings {
  name: string;
  updated_at: Generated<Date>;
  value: Json;
}

export interface LedgerEntries {
  account: string | null;
  amount: bigint | null;
  created_at: Date | null;
  kind: string | null;
  sequence: bigint | null;
  wallet_id: bigint | null;
}

export interface LedgerGrants {
  created_at: Date;
  expires_at: Generated<Date>;
  granted: bigint;
  held: Generated<bigint>;
  id: bigint;
  is_open: boolean;
  is_paid: boolean;
  is_scheduled: Generated<boolean>;
  origin_id: bigint | null;
  origin_wallet_id: bigint | null;
  parent_id: bigint | null;
  parent_wallet_id: bigint | null;
  price_amount: bigint | null;
  price_currency: string | null;
  price_units: bigint | null;
  priority: number;
  remaining: bigint;
  revoked: Generated<bigint>;
  source: "purchase" | "subscription" | "promo" | "bonus" | "referral" | "refund" | "manual" | "transfer";
  source_id: string;
  starts_at: Date;
  wallet_id: bigint;
}

export interface LedgerHolds {
  amount: bigint;
  captured: Generated<bigint>;
  closed_at: Date | null;
  closed_sequence: bigint | null;
  closed_wallet_id: bigint | null;
  created_at: Date;
  expires_at: Date;
  grant_amounts: ArrayType<bigint>;
  grant_ids: ArrayType<bigint>;
  id: string;
  is_late: Generated<boolean>;
  metadata: Json | null;
  placed_sequence: bigint;
  reason: string | null;
  reference: string | null;
  status: "placed" | "captured" | "released" | "expired";
  wallet_id: bigint;
}

export interface LedgerMergedCustomers {
  customer_id: string;
  merged_at: Date;
  survivor_id: string;
}

export interface LedgerRevocations {
  actor_id: string;
  created_at: Date;
  debt: Generated<bigint>;
  debt_at_once: bigint;
  grant_id: bigint;
  input_digest: Buffer;
  key_digest: Buffer;
  others_at_once: bigint;
  reason: string;
  reference: string | null;
  reinstated: Generated<bigint>;
  reinstated_at: Date | null;
  requested: bigint;
  slice_amounts: Generated<ArrayType<bigint>>;
  slice_grant_ids: Generated<ArrayType<bigint>>;
  slice_wallet_ids: Generated<ArrayType<bigint>>;
  taken: bigint;
  taken_at_once: bigint;
  wallet_id: bigint;
  written_off: Generated<bigint>;
}

export interface LedgerTransferKinds {
  from_account: string;
  grant_held: number;
  grant_remaining: number;
  grant_revoked: number;
  is_inflow: boolean;
  is_opening: boolean;
  is_use: boolean;
  kind: string;
  to_account: string;
  wallet_balance: number;
  wallet_debt: number;
  wallet_held: number;
  wallet_scheduled: number;
}

export interface LedgerTransfers {
  actor_id: string | null;
  amount: bigint;
  balance_after: bigint;
  created_at: Date;
  grant_amounts: ArrayType<bigint>;
  grant_ids: ArrayType<bigint>;
  hash: Buffer;
  held_after: bigint;
  hold_id: string | null;
  input_digest: Buffer | null;
  key_digest: Buffer | null;
  kind: string;
  metadata: Json | null;
  reason: string | null;
  reference: string | null;
  related_sequence: bigint | null;
  related_wallet_id: bigint | null;
  sequence: bigint;
  wallet_id: bigint;
}

export interface LedgerUnits {
  code: string;
  created_at: Date;
  is_debt_allowed: Generated<boolean>;
  kind: Generated<"counted" | "money">;
  name: string;
  scale: bigint;
  translations: Generated<Json>;
}

export interface LedgerWallets {
  balance: Generated<bigint>;
  chain_hash: Generated<Buffer>;
  created_at: Date;
  customer_id: string;
  debt: Generated<bigint>;
  has_merged: Generated<boolean>;
  held: Generated<bigint>;
  id: ColumnType<bigint, never, never>;
  merged_into: bigint | null;
  next_expiry: Generated<Date>;
  scheduled: Generated<bigint>;
  sequence: Generated<bigint>;
  unit: string;
}

export interface NotificationsWebhookDeliveries {
  attempts: Generated<number>;
  attempts_left: number;
  created_at: Date;
  endpoint_id: string;
  event_id: string;
  event_type: string;
  id: string;
  last_attempt_at: Date | null;
  next_attempt_at: Date | null;
  result: "succeeded" | "failed" | "timeout" | "refused" | null;
  status: "pending" | "sending" | "succeeded" | "failed" | "canceled";
  status_code: number | null;
}

export interface NotificationsWebhookEndpoints {
  created_at: Date;
  deleted_at: Date | null;
  description: string;
  disabled_at: Date | null;
  disabled_reason: "owner" | "gone" | "failing" | null;
  event_types: string[];
  failing_since: Date | null;
  id: string;
  previous_secret: string | null;
  previous_secret_expires_at: Date | null;
  secret: string | null;
  updated_at: Date;
  url: string;
}

export interface NotificationsWebhookEvents {
  body: string;
  created_at: Date;
  id: string;
  type: string;
}

export interface OrdersFulfilments {
  created_at: Date;
  is_repeat: Generated<boolean>;
  order_id: string;
  payment_id: string;
}

export interface OrdersLines {
  amount: bigint;
  grants: Json;
  id: string;
  name: string;
  order_id: string;
  position: number;
  price_id: string;
  product_id: string;
  product_version_id: string;
  quantity: bigint;
  unit_amount: bigint;
}

export interface OrdersOrders {
  created_at: Date;
  currency: string;
  customer_id: string;
  expires_at: Date;
  fulfilled_at: Date | null;
  gateway: string;
  id: string;
  locale: Generated<string>;
  metadata: Generated<Json>;
  payment_id: string | null;
  receipt_contact: Json | null;
  return_url: string;
  status: "open" | "fulfilled" | "canceled" | "expired";
  total: bigint;
  updated_at: Date;
}

export interface OrdersRefundRevocations {
  amount: bigint;
  created_at: Date;
  customer_id: string;
  grant_id: string;
  refund_id: string;
  share: Generated<bigint>;
  shortfall: Generated<bigint>;
  uncovered: Generated<bigint>;
  undone_at: Date | null;
  unit: string;
}

export interface PaymentsDifferences {
  created_at: Date;
  external_id: string | null;
  gateway: string;
  id: string;
  kind: string;
  last_found_at: Date;
  note: string | null;
  ours: string;
  proposed: string;
  resolved_at: Date | null;
  resolved_by: string | null;
  status: Generated<"open" | "resolved">;
  subject_id: string | null;
  theirs: string;
}

export interface PaymentsDisputes {
  amount: bigint;
  closed_at: Date | null;
  created_at: Date;
  currency: string;
  external_id: string;
  id: string;
  payment_id: string;
  reason: string;
  status: "open" | "won" | "lost";
  updated_at: Date;
}

export interface PaymentsFindings {
  difference_id: string;
  reconciliation_id: string;
}

export interface PaymentsGatewaySettings {
  gateway: string;
  is_enabled: Generated<boolean>;
  position: Generated<number>;
  sealed: string;
  updated_at: Date;
}

export interface PaymentsInbox {
  attempts: Generated<number>;
  error: string | null;
  event: Json;
  external_event_id: string;
  gateway: string;
  handled_at: Date | null;
  id: ColumnType<bigint, never, never>;
  next_attempt_at: Date;
  opened_at: Date | null;
  outcome: string | null;
  raw_body: Buffer | null;
  received_at: Date;
  remote_address: string | null;
  repeats: Generated<number>;
  status: Generated<"received" | "handling" | "handled" | "failed">;
  trust: "signed" | "hint";
  type: string;
}

export interface PaymentsPayments {
  amount: bigint;
  asking_until: Date | null;
  authorized_at: Date | null;
  captured_amount: Generated<bigint>;
  check_attempts: Generated<number>;
  checkout_url: string | null;
  consent_text: string | null;
  created_at: Date;
  currency: string;
  customer_id: string;
  description: string;
  email: string | null;
  expires_at: Date;
  external_id: string | null;
  failure_reason: string | null;
  fee: bigint | null;
  fee_currency: string | null;
  finished_at: Date | null;
  gateway: string;
  has_save_consent: Generated<boolean>;
  id: string;
  is_fiscal: Generated<boolean>;
  is_test: boolean;
  locale: Generated<string>;
  may_capture_now: Generated<boolean>;
  method: string | null;
  mismatch: Json | null;
  mismatch_reason: string | null;
  next_check_at: Date | null;
  number: ColumnType<number, never, never>;
  open_asks: Generated<number>;
  order_id: string;
  receipt: Json | null;
  refunded_amount: Generated<bigint>;
  repeat_kind: "paid_again" | "renewal" | null;
  repeats_payment_id: string | null;
  return_url: string;
  saved_method_id: string | null;
  status: "pending" | "requires_action" | "authorized" | "unknown" | "expired" | "failed" | "canceled" | "mismatch" | "succeeded" | "partially_refunded" | "refunded";
  subscription_period_seconds: number | null;
  succeeded_at: Date | null;
  telegram_id: bigint | null;
  updated_at: Date;
  vendor_subscription_id: string | null;
}

export interface PaymentsReceipts {
  amount: bigint;
  attempts: Generated<number>;
  contact: Json | null;
  created_at: Date;
  currency: string;
  customer_id: string;
  external_id: string | null;
  failure_reason: string | null;
  fiscal_attribute: string | null;
  fiscal_document: string | null;
  fiscal_storage: string | null;
  gateway: string;
  id: string;
  is_test: boolean;
  items: Json;
  kind: "payment" | "refund";
  next_attempt_at: Date | null;
  offset_check_at: Date | null;
  order_id: string;
  payment_id: string;
  purpose: "full" | "prepayment" | "offset" | "refund";
  refund_id: string | null;
  registered_at: Date | null;
  registrar: "operation" | "apart" | "person";
  retried_at: Date | null;
  round: Generated<number>;
  status: "pending" | "unknown" | "sent" | "registered" | "failed" | "manual";
  tax_system: number | null;
  updated_at: Date;
}

export interface PaymentsReconciliations {
  created_at: Date;
  error: string | null;
  from_at: Date;
  gateway: string;
  id: string;
  method: "list" | "one_by_one" | null;
  payments_at_vendor: Generated<number>;
  payments_here: Generated<number>;
  refunds_at_vendor: Generated<number>;
  refunds_here: Generated<number>;
  status: "done" | "failed";
  to_at: Date;
  updated_at: Date;
}

export interface PaymentsRefunds {
  amount: bigint;
  asking_until: Date | null;
  breakdown: Json | null;
  check_attempts: Generated<number>;
  created_at: Date;
  currency: string;
  external_id: string | null;
  failure_reason: string | null;
  finished_at: Date | null;
  id: string;
  is_full: boolean;
  next_check_at: Date | null;
  origin: "api" | "vendor";
  payment_id: string;
  reason: string;
  receipt: Json | null;
  requested_by: string;
  revision: Generated<number>;
  status: "pending" | "unknown" | "succeeded" | "failed";
  updated_at: Date;
}

export interface PaymentsSavedMethods {
  consent_locale: string | null;
  consent_text: string | null;
  consented_at: Date;
  created_at: Date;
  customer_external_id: string | null;
  customer_id: string;
  expires_at: Date | null;
  external_id: string;
  forget_attempts: Generated<number>;
  forgotten_at: Date | null;
  gateway: string;
  id: string;
  is_test: boolean;
  kind: string;
  next_forget_at: Date | null;
  removed_at: Date | null;
  title: string;
}

export interface PaymentsVendorPeriods {
  created_at: Date;
  external_id: string;
  gateway: string;
  period_id: string;
}

export interface PaymentsVendorSubscriptions {
  amount: bigint | null;
  created_at: Date;
  currency: string | null;
  customer_id: string;
  expires_at: Date | null;
  external_id: string;
  facts: Generated<Json>;
  gateway: string;
  id: string;
  is_test: boolean;
  is_trial: Generated<boolean>;
  next_check_at: Date | null;
  payment_id: string | null;
  product_code: string | null;
  started_at: Date | null;
  status: "active" | "canceled" | "expired";
  told_at: Date;
  updated_at: Date;
  will_renew: boolean;
}

export interface UsageMeterEvents {
  amount: bigint;
  balance_after: bigint;
  billable_ms: bigint;
  channels: number;
  cost_currency: string | null;
  cost_nano: bigint | null;
  created_at: Date;
  customer_id: string;
  duration_ms: bigint;
  event_id: string;
  id: string;
  input_digest: Buffer;
  meter: string;
  mode: string | null;
  occurred_at: Date;
  provider: string | null;
  rate_card_id: string | null;
  session_id: string | null;
  slices: Json;
  spend_id: string | null;
  unit: string;
}

export interface UsageMeters {
  channel_group: Generated<number>;
  code: string;
  created_at: Date;
  empty_increments: Generated<number>;
  increment_ms: bigint;
  is_active: Generated<boolean>;
  minimum_ms: bigint;
  name: string;
  part_ms: bigint;
  round_per: "request" | "session";
  unit: string;
  updated_at: Date;
}

export interface UsageRateCards {
  as_of: string;
  channel_group: Generated<number>;
  created_at: Date;
  currency: string;
  effective_from: Date;
  effective_to: Date | null;
  empty_increments: Generated<number>;
  id: string;
  increment_ms: bigint;
  minimum_ms: bigint;
  mode: string;
  nano_per_increment: bigint;
  provider: string;
  round_per: "request" | "session";
  source: string;
}

export interface UsageSessions {
  billed_ms: bigint;
  channels: number;
  cost_ms: Generated<bigint>;
  customer_id: string;
  duration_ms: bigint;
  meter: string;
  session_id: string;
  updated_at: Date;
}

export interface DB {
  "admin.approval_limits": AdminApprovalLimits;
  "admin.approvals": AdminApprovals;
  "admin.lone_acts": AdminLoneActs;
  "catalog.prices": CatalogPrices;
  "catalog.product_grants": CatalogProductGrants;
  "catalog.product_versions": CatalogProductVersions;
  "catalog.products": CatalogProducts;
  "customers.customers": CustomersCustomers;
  "customers.invitations": CustomersInvitations;
  "customers.member_limits": CustomersMemberLimits;
  "customers.members": CustomersMembers;
  "customers.organizations": CustomersOrganizations;
  "identity.api_keys": IdentityApiKeys;
  "identity.attempts": IdentityAttempts;
  "identity.audit_head": IdentityAuditHead;
  "identity.audit_log": IdentityAuditLog;
  "identity.benefit_claims": IdentityBenefitClaims;
  "identity.benefit_key": IdentityBenefitKey;
  "identity.devices": IdentityDevices;
  "identity.identities": IdentityIdentities;
  "identity.one_time_proofs": IdentityOneTimeProofs;
  "identity.refresh_tokens": IdentityRefreshTokens;
  "identity.roles": IdentityRoles;
  "identity.sessions": IdentitySessions;
  "identity.setup_tokens": IdentitySetupTokens;
  "identity.signing_keys": IdentitySigningKeys;
  "identity.staff": IdentityStaff;
  "identity.totp_secrets": IdentityTotpSecrets;
  "identity.users": IdentityUsers;
  "kernel.function_files": KernelFunctionFiles;
  "kernel.idempotency_keys": KernelIdempotencyKeys;
  "kernel.migrations": KernelMigrations;
  "kernel.settings": KernelSettings;
  "ledger.entries": LedgerEntries;
  "ledger.grants": LedgerGrants;
  "ledger.holds": LedgerHolds;
  "ledger.merged_customers": LedgerMergedCustomers;
  "ledger.revocations": LedgerRevocations;
  "ledger.transfer_kinds": LedgerTransferKinds;
  "ledger.transfers": LedgerTransfers;
  "ledger.units": LedgerUnits;
  "ledger.wallets": LedgerWallets;
  "notifications.webhook_deliveries": NotificationsWebhookDeliveries;
  "notifications.webhook_endpoints": NotificationsWebhookEndpoints;
  "notifications.webhook_events": NotificationsWebhookEvents;
  "orders.fulfilments": OrdersFulfilments;
  "orders.lines": OrdersLines;
  "orders.orders": OrdersOrders;
  "orders.refund_revocations": OrdersRefundRevocations;
  "payments.differences": PaymentsDifferences;
  "payments.disputes": PaymentsDisputes;
  "payments.findings": PaymentsFindings;
  "payments.gateway_settings": PaymentsGatewaySettings;
  "payments.inbox": PaymentsInbox;
  "payments.payments": PaymentsPayments;
  "payments.receipts": PaymentsReceipts;
  "payments.reconciliations": PaymentsReconciliations;
  "payments.refunds": PaymentsRefunds;
  "payments.saved_methods": PaymentsSavedMethods;
  "payments.vendor_periods": PaymentsVendorPeriods;
  "payments.vendor_subscriptions": PaymentsVendorSubscriptions;
  "usage.meter_events": UsageMeterEvents;
  "usage.meters": UsageMeters;
  "usage.rate_cards": UsageRateCards;
  "usage.sessions": UsageSessions;
}
