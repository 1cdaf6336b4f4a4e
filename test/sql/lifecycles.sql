-- Several lifecycles on one table, each with its state column, guard and ledger.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_lifecycles;
SET search_path = test_lifecycles, public;

CREATE TABLE orders (id int PRIMARY KEY, state text DEFAULT 'open', payment_state text DEFAULT 'due', shipment int DEFAULT 0);
SELECT govern('orders', '{"open": ["done", "cancelled"]}');
SELECT govern('orders', '{"due": ["paid", "failed"]}', state_column => 'payment_state');
SELECT govern('orders', '{"0": ["1"], "1": ["2", "3"]}', state_column => 'shipment');
SELECT told($$SELECT govern('orders', '{"due": ["paid", "failed"]}', state_column => 'payment_state')$$);
SELECT told($$SELECT govern('orders', '{"open": ["done"]}')$$);
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND NOT tgisinternal ORDER BY tgname;
SELECT tgrelid::regclass, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'petition_cas_ledger' AND tgrelid::regclass::text ~ '^orders' ORDER BY tgrelid::regclass::text COLLATE "C";
INSERT INTO orders (id) SELECT generate_series(1, 9);

-- Each is moved by itself, and named by its state column.
SELECT told($$SELECT compare_and_swap(NULL::orders, 1, 'open', 'done')$$);
SELECT compare_and_swap(NULL::orders, 1, 'open', 'done', state_column => 'state');
SELECT compare_and_swap(NULL::orders, 1, 'due', 'paid', state_column => 'payment_state');
SELECT compare_and_swap(NULL::orders, 1, '0', '1', state_column => 'shipment');
SELECT try_compare_and_swap(NULL::orders, 1, '1', '2', state_column => 'shipment');
SELECT told($$SELECT compare_and_swap(NULL::orders, 1, 'due', 'failed', state_column => 'payment_state')$$);
SELECT told($$SELECT compare_and_swap(NULL::orders, 1, 'due', 'failed', state_column => 'none')$$);
SELECT told($$SELECT compare_and_swap(NULL::orders, 2, 'due', 'done', state_column => 'payment_state')$$);

-- One UPDATE that moves two states is judged and recorded for both, or for none.
UPDATE orders SET state = 'done', payment_state = 'paid' WHERE id = 2;
SELECT told($$UPDATE orders SET state = 'done', payment_state = 'open' WHERE id = 3$$);
SELECT told($$UPDATE orders SET state = 'done', shipment = 2 WHERE id = 3$$);
SELECT told($$UPDATE orders SET payment_state = 'failed' WHERE id = 2$$);
SELECT told($$DELETE FROM orders WHERE id = 2$$);
SELECT told($$TRUNCATE orders$$);
SELECT 'state' AS lifecycle, id, from_state, fate FROM orders_fates
UNION ALL SELECT 'payment', id, from_state, fate FROM orders_payment_state_fates
UNION ALL SELECT 'shipment', id, from_state, fate FROM orders_shipment_fates ORDER BY 1, 2;
SELECT * FROM orders WHERE id < 4 ORDER BY id;

-- The questions name the column too.
SELECT told($$SELECT lifecycle('orders')$$);
SELECT lifecycle('orders', 'payment_state'), allowed_transitions('orders', '1', 'shipment'), is_fate('orders', 'paid', 'payment_state');
SELECT told($$SELECT is_fate('orders', 'paid')$$);
SELECT lifecycle_diagram('orders', 'shipment');
SELECT told($$SELECT extend_lifecycle('orders', '{"due": ["waived"]}')$$);
SELECT extend_lifecycle('orders', '{"due": ["waived"]}', 'payment_state');
SELECT compare_and_swap(NULL::orders, 4, 'due', 'waived', state_column => 'payment_state');

-- verify_fates and backfill_fates are about all of them, or one.
SELECT * FROM verify_fates('orders');
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
ALTER TABLE orders_fates DISABLE TRIGGER ALL;
ALTER TABLE orders_payment_state_fates DISABLE TRIGGER ALL;
DELETE FROM orders_fates WHERE id = 1;
DELETE FROM orders_payment_state_fates WHERE id IN (1, 2);
SELECT * FROM verify_fates('orders') ORDER BY key, problem;
SELECT * FROM verify_fates('orders', 'payment_state') ORDER BY key, problem;
SELECT * FROM verify_fates('orders', 'shipment');
ALTER TABLE orders_fates ENABLE ALWAYS TRIGGER petition_cas_ledger, ENABLE ALWAYS TRIGGER petition_cas_ledger_truncate;
ALTER TABLE orders_payment_state_fates ENABLE ALWAYS TRIGGER petition_cas_ledger, ENABLE ALWAYS TRIGGER petition_cas_ledger_truncate;
SELECT backfill_fates('orders', 'payment_state');
SELECT backfill_fates('orders');
SELECT * FROM verify_fates('orders');
ROLLBACK;

-- What holds for the first holds for each: it is not weakened.
SELECT told($$DROP TRIGGER petition_cas_guard_payment_state ON orders$$);
SELECT told($$ALTER TABLE orders DISABLE TRIGGER petition_cas_guard_shipment$$);
SELECT told($$ALTER TRIGGER petition_cas_guard_shipment ON orders RENAME TO other$$);
SELECT told($$DROP TABLE orders_payment_state_fates$$);
SELECT told($$ALTER TABLE orders_payment_state_fates RENAME TO other$$);
SELECT told($$ALTER TABLE orders_payment_state_fates DROP CONSTRAINT orders_payment_state_fates_pkey$$);
SELECT told($$ALTER TABLE orders DROP payment_state$$);
SELECT told($$ALTER TABLE orders ALTER payment_state TYPE varchar(10)$$);
SELECT told($$ALTER TABLE orders RENAME payment_state TO payment$$);
SELECT told($$CREATE OR REPLACE TRIGGER petition_cas_guard_shipment AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'shipment', 'orders_shipment_fates', '{"0": ["1", "2"]}')$$);
SELECT told($$DELETE FROM orders_payment_state_fates$$);
CREATE TABLE thief (id int PRIMARY KEY, state text);
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON thief FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'orders_shipment_fates', '{"0": ["1", "2"]}')$$);
-- The owner's goes along with each ledger.
CREATE ROLE regress_lifecycles;
GRANT CREATE ON SCHEMA test_lifecycles TO regress_lifecycles;
BEGIN;
ALTER TABLE orders OWNER TO regress_lifecycles;
SELECT relname, relowner::regrole FROM pg_class WHERE relname ~ '^orders.*fates$' AND relnamespace = 'test_lifecycles'::regnamespace ORDER BY 1;
ROLLBACK;
REVOKE CREATE ON SCHEMA test_lifecycles FROM regress_lifecycles;
DROP ROLE regress_lifecycles;

-- Only what is unsound itself assigns no fates.
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
ALTER TABLE orders_shipment_fates DROP CONSTRAINT orders_shipment_fates_pkey;
SELECT told($$UPDATE orders SET shipment = 1 WHERE id = 5$$);
SELECT told($$UPDATE orders SET shipment = 2 WHERE id = 5$$);
SELECT told($$UPDATE orders SET state = 'done' WHERE id = 5$$);
SELECT * FROM verify_fates('orders');
ROLLBACK;

-- One is ungoverned, and governed again with its ledger; the slot of the first is free then.
SELECT told($$SELECT ungovern('orders')$$);
SELECT ungovern('orders', 'state');
UPDATE orders SET state = 'anything' WHERE id = 7;
SELECT told($$UPDATE orders SET payment_state = 'due' WHERE id = 1$$);
SELECT told($$SELECT govern('orders', '{"open": ["done", "cancelled"]}')$$);
UPDATE orders SET state = 'open' WHERE id = 7;
SELECT govern('orders', '{"open": ["done", "cancelled"]}');
SELECT ungovern('orders', 'payment_state'), ungovern('orders', 'shipment');
SELECT govern('orders', '{"due": ["paid", "failed", "waived"]}', state_column => 'payment_state');
SELECT * FROM verify_fates('orders');
SELECT ungovern('orders', 'payment_state');
SELECT compare_and_swap(NULL::orders, 9, 'open', 'cancelled');

-- All have the same key.
CREATE TABLE two_keys (id int PRIMARY KEY, code text NOT NULL UNIQUE, state text, other text);
SELECT govern('two_keys', '{"a": ["b"]}', 'code');
SELECT told($$SELECT govern('two_keys', '{"a": ["b"]}', 'id', 'other')$$);
SELECT govern('two_keys', '{"a": ["b"]}', state_column => 'other');
SELECT attname FROM pg_attribute WHERE attrelid = 'two_keys_other_fates'::regclass AND attnum = 1;

-- Names that are too long are shortened, and lead to no other's ledger.
CREATE TABLE a_table_with_a_name_that_is_nearly_as_long_as_any_may_be_1 (id int PRIMARY KEY, a_state_column_with_a_long_name_1 text, a_state_column_with_a_long_name_2 text, state text);
CREATE TABLE a_table_with_a_name_that_is_nearly_as_long_as_any_may_be_2 (id int PRIMARY KEY, a_state_column_with_a_long_name_1 text);
SELECT govern('a_table_with_a_name_that_is_nearly_as_long_as_any_may_be_1', '{"a": ["b"]}');
SELECT govern('a_table_with_a_name_that_is_nearly_as_long_as_any_may_be_1', '{"a": ["b"]}', state_column => 'a_state_column_with_a_long_name_1');
SELECT govern('a_table_with_a_name_that_is_nearly_as_long_as_any_may_be_1', '{"a": ["b"]}', state_column => 'a_state_column_with_a_long_name_2');
SELECT govern('a_table_with_a_name_that_is_nearly_as_long_as_any_may_be_2', '{"a": ["b"]}', state_column => 'a_state_column_with_a_long_name_1');
-- The ledger of a second lifecycle may have the name of another table's.
CREATE TABLE shop (id int PRIMARY KEY, state text, item text);
CREATE TABLE shop_item (id int PRIMARY KEY, state text);
SELECT govern('shop', '{"a": ["b"]}');
SELECT govern('shop', '{"a": ["b"]}', state_column => 'item');
SELECT told($$SELECT govern('shop_item', '{"a": ["b"]}')$$);
SELECT ungovern('shop', 'item');
SELECT told($$SELECT govern('shop_item', '{"a": ["b"]}')$$);

-- On partitions each guard is a clone of its own.
CREATE TABLE parted (id int, day date, state text, other text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
SELECT govern('parted', '{"a": ["b"]}');
SELECT govern('parted', '{"x": ["y", "z"]}', state_column => 'other');
CREATE TABLE parted_2 (id int, day date, state text, other text, PRIMARY KEY (id, day));
INSERT INTO parted_2 VALUES (1, '2026-02-01', 'a', 'y');
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO parted VALUES (1, '2026-01-01', 'a', 'x');
SELECT try_compare_and_swap(NULL::parted, '[1, "2026-01-01"]', 'x', 'y', state_column => 'other');
UPDATE parted SET state = 'b';
SELECT told($$UPDATE parted SET other = 'z' WHERE id = 1$$);
SELECT id, day, fate FROM parted_other_fates ORDER BY day;
SELECT * FROM verify_fates('parted');

-- One guard for a state column, one ledger for a guard, and a name for each guard.
CREATE TABLE unique_things (id int PRIMARY KEY, a text DEFAULT 'o', b text DEFAULT 'o', c text DEFAULT 'o',
    a23456789012345678901234567890123456789012345_1 text DEFAULT 'o', a23456789012345678901234567890123456789012345_2 text DEFAULT 'o');
SELECT govern('unique_things', '{"o": ["x", "y"]}', state_column => 'a');
SELECT govern('unique_things', '{"o": ["x", "y"]}', state_column => 'b');
SELECT told($$CREATE TRIGGER petition_cas_guard_c AFTER INSERT OR UPDATE OR DELETE ON unique_things FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'c', 'unique_things_b_fates', '{"o": ["x", "y"]}')$$);
SELECT told($$CREATE TRIGGER petition_cas_guard_a AFTER INSERT OR UPDATE OR DELETE ON unique_things FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'a', 'other_fates', '{"o": ["x", "y"]}')$$);
CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER petition_cas_guard_c AFTER UPDATE ON unique_things FOR EACH ROW EXECUTE FUNCTION mine();
SELECT told($$SELECT govern('unique_things', '{"o": ["x", "y"]}', state_column => 'c')$$);
-- A trigger of the user's is no guard of a first lifecycle.
CREATE TABLE named (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_guard AFTER UPDATE ON named FOR EACH ROW EXECUTE FUNCTION mine();
SELECT told($$SELECT govern('named', '{"o": ["x", "y"]}')$$);
SELECT govern('unique_things', '{"o": ["x", "y"]}', state_column => 'a23456789012345678901234567890123456789012345_1');
SELECT told($$SELECT govern('unique_things', '{"o": ["x", "y"]}', state_column => 'a23456789012345678901234567890123456789012345_2')$$);
SELECT state_column FROM governed_tables() WHERE relation = 'unique_things'::regclass ORDER BY 1;
SELECT * FROM verify_fates('unique_things');
CREATE TABLE taken (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_truncate AFTER TRUNCATE ON taken EXECUTE FUNCTION mine();
SELECT told($$SELECT govern('taken', '{"o": ["x", "y"]}')$$);
SELECT tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'taken'::regclass;
-- Governed again, each has its own ledger, if the first is the first.
SELECT ungovern('unique_things', 'a');
SELECT ungovern('unique_things', 'b');
SELECT told($$SELECT govern('unique_things', '{"o": ["x", "y"]}', state_column => 'b')$$);
SELECT govern('unique_things', '{"o": ["x", "y"]}', state_column => 'a');
SELECT govern('unique_things', '{"o": ["x", "y"]}', state_column => 'b');
