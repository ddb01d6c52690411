-- A refund is asked for by one asker at a time, and again only by who knows all that befell it meanwhile.
alter table payments.refunds
  add column revision int not null default 0,
  add column asking_until timestamptz;
