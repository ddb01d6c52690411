-- What several refunds and disputes of one payment want of the same grant, though it can be taken but once.
alter table orders.refund_revocations
  add column share bigint not null default 0 check (share >= 0),
  add column uncovered bigint not null default 0 check (uncovered >= 0);
create index refund_revocations_grant on orders.refund_revocations (grant_id) where undone_at is null;
update orders.refund_revocations r
   set uncovered = r.shortfall
 where r.undone_at is null
   and r.shortfall > 0
   and exists (select 1 from orders.refund_revocations o
                where o.grant_id = r.grant_id
                  and o.refund_id <> r.refund_id
                  and o.undone_at is null
                  and o.created_at <= r.created_at);
