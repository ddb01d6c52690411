-- The canonical text of a row of the audit log, stated once: the writer hashes it, verification hashes it
-- again. A row literal quotes what it must, so no two different rows have one text; nothing in it depends on
-- a setting.
create or replace function identity.canonical_audit(entry identity.audit_log) returns text
language sql stable as $$
  select row(entry.sequence, entry.actor_id, entry.actor_kind, entry.impersonator_id, entry.action,
    entry.subject_id, entry.before, entry.after, entry.reason, entry.address, entry.request_id,
    extract(epoch from entry.created_at))::text
$$;

-- Appends one row. The head is locked, so the chain has one order however many write at once.
create or replace function identity.append_audit(
  p_actor_id text, p_actor_kind text, p_impersonator_id text, p_action text, p_subject_id text,
  p_before jsonb, p_after jsonb, p_reason text, p_address text, p_request_id text, p_now timestamptz
) returns bigint language plpgsql as $$
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
end $$;
