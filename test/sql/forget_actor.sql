-- forget_actor rewrites names in ledgers and histories, for the owner, and nothing else.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA forget;
SET search_path = forget, public;

CREATE TABLE orders (id int PRIMARY KEY, state text, payment text DEFAULT 'due');
SELECT govern('orders', '{"new": ["packed"], "packed": ["shipped"]}', history => true);
SELECT govern('orders', '{"due": ["paid"]}', state_column => 'payment', keep_rows => false);
SET petition_cas.actor = 'ann';
INSERT INTO orders VALUES (1, 'new'), (2, 'shipped');
SET petition_cas.actor = 'bob';
UPDATE orders SET state = 'packed', payment = 'paid' WHERE id = 1;
SET petition_cas.actor = 'ann';
UPDATE orders SET state = 'shipped' WHERE id = 1;
CREATE VIEW everything AS
    SELECT 'fates' AS what, id, fate, assigned_by, md5(row(id, from_state, assigned_at, transaction_id, reason, request_id, evidence_hash)::text) AS rest FROM orders_fates
    UNION ALL SELECT 'history', id, to_state, moved_by, md5(row(id, from_state, moved_at, transaction_id, reason, request_id)::text) FROM orders_history
    UNION ALL SELECT 'payment', id, fate, assigned_by, md5(row(id, from_state, assigned_at, transaction_id)::text) FROM orders_payment_fates;
CREATE TABLE before AS SELECT * FROM everything;
SELECT forget_actor('orders', 'ann', 'clerk 1');
SELECT what, id, fate, assigned_by FROM everything ORDER BY 1, 2, 3;
SELECT count(*) FROM before b JOIN everything e USING (what, id, fate, rest);
SELECT forget_actor('orders', 'ann', 'clerk 1');
SELECT forget_actor('orders', 'bob', 'clerk 2', 'payment');
SELECT forget_actor('orders', 'bob', 'clerk 3', state_column => 'state');
SELECT what, assigned_by, count(*) FROM everything GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM verify_fates('orders');

-- Arguments.
SELECT told($$SELECT forget_actor(null, 'a', 'b')$$);
SELECT told($$SELECT forget_actor('orders', null, 'b')$$);
SELECT told($$SELECT forget_actor('orders', 'a', null)$$);
SELECT told($$SELECT forget_actor('orders', '', 'b')$$);
SELECT told($$SELECT forget_actor('orders', 'a', '')$$);
SELECT told($$SELECT forget_actor('orders', repeat('a', 1001), 'b')$$);
SELECT told($$SELECT forget_actor('orders', 'a', repeat('b', 1001))$$);
SELECT told($$SELECT forget_actor('orders', 'a', 'b', 'other')$$);
SELECT told($$SELECT forget_actor('before', 'a', 'b')$$);
SELECT told($$SELECT forget_actor('orders_fates', 'a', 'b')$$);
BEGIN READ ONLY;
SELECT told($$SELECT forget_actor('orders', 'a', 'b')$$);
COMMIT;
CREATE ROLE regress_forget;
GRANT USAGE ON SCHEMA forget TO regress_forget;
GRANT ALL ON orders, orders_fates, orders_history TO regress_forget;
SET ROLE regress_forget;
SELECT told($$SELECT forget_actor('orders', 'clerk 1', 'b')$$);
RESET ROLE;
REVOKE ALL ON orders, orders_fates, orders_history FROM regress_forget;

-- It lets nobody else change anything, neither beside it nor within it.
SELECT told($$UPDATE orders_fates SET assigned_by = 'me'$$);
SELECT told($$UPDATE orders_history SET moved_by = 'me'$$);
CREATE TABLE log (line text);
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO forget.log SELECT t FROM public.told('UPDATE forget.orders_history SET to_state = ''new''') t;
    INSERT INTO forget.log SELECT t FROM public.told('UPDATE forget.orders_history SET moved_by = ''me''') t;
    INSERT INTO forget.log SELECT t FROM public.told('DELETE FROM forget.orders_history') t;
    INSERT INTO forget.log SELECT t FROM public.told('UPDATE forget.orders_fates SET assigned_by = ''x'' WHERE assigned_by = ''clerk 1''') t;
    RETURN NULL;
END $$;
CREATE TRIGGER meddle AFTER UPDATE ON orders_history FOR EACH STATEMENT EXECUTE FUNCTION meddle();
SELECT forget_actor('orders', 'clerk 1', 'x', 'state');
SELECT line, count(*) FROM log GROUP BY line ORDER BY line;
DROP TRIGGER meddle ON orders_history;
TRUNCATE log;
-- The same from a CHECK, which runs within the statement itself, on other rows.
CREATE FUNCTION check_row(by text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO forget.log SELECT t FROM public.told('UPDATE forget.orders_history SET moved_by = ''y'' WHERE moved_by <> ''x''') t;
    RETURN true;
END $$;
ALTER TABLE orders_history ADD CONSTRAINT c CHECK (check_row(moved_by)) NOT VALID;
SELECT forget_actor('orders', 'x', 'y', 'state');
SELECT line, count(*) > 0 FROM log GROUP BY line ORDER BY line;
SELECT to_state, moved_by FROM orders_history ORDER BY id, moved_at;
ALTER TABLE orders_history DROP CONSTRAINT c;
-- Nor a trigger that sees the new row after ours.
CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN new.fate := 'forged'; RETURN new; END$$;
CREATE TRIGGER zz BEFORE UPDATE ON orders_fates FOR EACH ROW EXECUTE FUNCTION forge();
SELECT told($$SELECT forget_actor('orders', 'y', 'z', 'state')$$);
DROP TRIGGER zz ON orders_fates;
CREATE TRIGGER aa BEFORE UPDATE ON orders_fates FOR EACH ROW EXECUTE FUNCTION forge();
SELECT told FROM told($$SELECT forget_actor('orders', 'y', 'z', 'state')$$) WHERE told ~ '^P|^5';
DROP TRIGGER aa ON orders_fates;
-- One that fires before ours, and keeps the row as it is, does not make it look done.
CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER audit_only BEFORE UPDATE ON orders_history FOR EACH ROW EXECUTE FUNCTION keep_out();
SELECT told($$SELECT forget_actor('orders', 'y', 'z', 'state')$$);
DROP TRIGGER audit_only ON orders_history;
SELECT what, id, fate, assigned_by FROM everything ORDER BY 1, 2, 3;

-- It runs as the owner, restricted, past row security, with columns of the user's own.
ALTER TABLE orders_fates ADD COLUMN twice text GENERATED ALWAYS AS (assigned_by || assigned_by) STORED, ADD COLUMN extra int DEFAULT 7;
ALTER TABLE orders_fates ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT forget_actor('orders', 'y', 'clerk 9', 'state');
SELECT fate, assigned_by, twice, extra FROM orders_fates ORDER BY id;
ALTER TABLE orders_fates DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
-- A foreign key of the user's own is checked.
CREATE TABLE people (name text PRIMARY KEY);
INSERT INTO people VALUES ('clerk 9');
ALTER TABLE orders_fates ADD CONSTRAINT by_people FOREIGN KEY (assigned_by) REFERENCES people;
SELECT told FROM told($$SELECT forget_actor('orders', 'clerk 9', 'nobody', 'state')$$) WHERE told ~ '^23';
INSERT INTO people VALUES ('nobody');
SELECT forget_actor('orders', 'clerk 9', 'nobody', 'state');
-- An unsound table is to be repaired first; one that is governed no more, governed again.
SET petition_cas.allow_unguard = on;
ALTER TABLE orders_history DISABLE TRIGGER ALL;
RESET petition_cas.allow_unguard;
SELECT told($$SELECT forget_actor('orders', 'nobody', 'x', 'state')$$);
SET petition_cas.allow_unguard = on;
ALTER TABLE orders_history ENABLE ALWAYS TRIGGER petition_cas_ledger, ENABLE ALWAYS TRIGGER petition_cas_ledger_truncate;
RESET petition_cas.allow_unguard;

-- Partitions have one ledger and one history.
CREATE TABLE cases (id int PRIMARY KEY, state text) PARTITION BY RANGE (id);
CREATE TABLE cases_1 PARTITION OF cases DEFAULT;
SELECT govern('cases', '{"a": ["b"]}', history => true);
INSERT INTO cases VALUES (1, 'b');
SELECT forget_actor('cases', 'ann', 'x');
SELECT told($$SELECT forget_actor('cases_1', 'ann', 'x')$$);
SELECT assigned_by, moved_by FROM cases_fates, cases_history;
SELECT forget_actor('cases', assigned_by, 'x') FROM cases_fates;
-- Published, too, though a history has no key of its own.
SELECT relreplident FROM pg_class WHERE oid = 'cases_history'::regclass;

DROP SCHEMA forget CASCADE;
DROP ROLE regress_forget;
