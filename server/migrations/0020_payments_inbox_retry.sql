-- A notification that failed is opened again by its vendor's repeat or by a person, and is as young as that.
alter table payments.inbox add column opened_at timestamptz;
