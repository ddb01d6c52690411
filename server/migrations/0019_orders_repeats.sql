-- An order is fulfilled once, and once more by each charge that repeats its payment.
alter table orders.fulfilments add column is_repeat boolean not null default false;
alter table orders.fulfilments drop constraint fulfilments_pkey;
alter table orders.fulfilments drop constraint fulfilments_payment_id_key;
alter table orders.fulfilments add primary key (payment_id);
create unique index fulfilments_order on orders.fulfilments (order_id) where not is_repeat;
create index fulfilments_by_order on orders.fulfilments (order_id);
