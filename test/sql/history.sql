-- The history of a table: a row for each insertion and each change of state, by
-- whatever SQL; guarded and judged as the ledger is.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_history;
SET search_path = test_history, public;

CREATE TABLE orders (id int PRIMARY KEY, state text, note text);
INSERT INTO orders VALUES (0, 'new');
SELECT govern('orders', '{"new": ["packed", "void"], "packed": ["new", "shipped"]}', history => true);
SELECT ledger, history, options, problems FROM governed_tables() WHERE relation = 'orders'::regclass;
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'orders_history'::regclass AND attnum > 0 ORDER BY attnum;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'orders_history'::regclass;
SELECT tgname, tgenabled, tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'orders_history'::regclass ORDER BY 1;
-- It begins empty.
SELECT count(*) FROM orders_history;

-- Every kind of writing.
CREATE FUNCTION moves() RETURNS TABLE (id int, from_state text, to_state text, moved_by text, reason text, request_id text, mine boolean) LANGUAGE sql STABLE AS
    $$SELECT id, coalesce(from_state, '-'), to_state, moved_by, reason, request_id, transaction_id = pg_current_xact_id_if_assigned() FROM orders_history ORDER BY id, moved_at$$;
COPY orders (id, state) FROM stdin;
1	new
2	packed
3	shipped
\.
INSERT INTO orders VALUES (4, 'new'), (5, 'new') ON CONFLICT DO NOTHING;
INSERT INTO orders VALUES (1, 'packed') ON CONFLICT (id) DO UPDATE SET state = excluded.state;
MERGE INTO orders o USING (VALUES (4), (9)) v (id) ON o.id = v.id WHEN MATCHED THEN UPDATE SET state = 'void' WHEN NOT MATCHED THEN INSERT VALUES (9, 'new');
SELECT state FROM compare_and_swap(null::orders, 0, 'new', 'packed', reason => 'ready');
SELECT outcome FROM try_compare_and_swap(null::orders, 1, 'packed', 'new');
SELECT outcome FROM try_compare_and_swap(null::orders, 1, 'packed', 'new');
SELECT key, outcome FROM compare_and_swap_many(null::orders, ARRAY[0, 1, 2, 3], 'packed', 'shipped', reason => 'gone');
SET petition_cas.reason = 'by hand';
SET petition_cas.request_id = 'r-1';
UPDATE orders SET state = 'packed' WHERE id IN (5, 9);
RESET petition_cas.reason;
RESET petition_cas.request_id;
-- What changes no state, or fails, is not recorded.
UPDATE orders SET note = 'x', state = state;
SELECT told('UPDATE orders SET state = ''packed'' WHERE id = 0');
BEGIN; UPDATE orders SET state = 'new' WHERE id = 5; ROLLBACK;
SELECT * FROM moves();
SELECT id, fate FROM orders_fates ORDER BY id;
-- Several moves in one transaction are in their order, whenever that began.
BEGIN;
UPDATE orders SET state = 'new' WHERE id = 5;
UPDATE orders SET state = 'packed' WHERE id = 5;
UPDATE orders SET state = 'new' WHERE id = 5;
SELECT id, from_state, to_state, mine FROM moves() WHERE id = 5;
COMMIT;
-- A deleted row keeps its history, and a new one of its key begins another.
DELETE FROM orders WHERE id = 5;
INSERT INTO orders VALUES (5, 'new');
SELECT from_state, to_state FROM moves() WHERE id = 5;
SELECT * FROM verify_fates('orders');
-- Under the replica role nothing is written: histories replicate too.
SET session_replication_role = replica;
INSERT INTO orders VALUES (10, 'new');
UPDATE orders SET state = 'packed' WHERE id = 10;
RESET session_replication_role;
SELECT count(*) FROM moves() WHERE id = 10;

-- It only grows.
SELECT told('UPDATE orders_history SET to_state = to_state');
SELECT told('DELETE FROM orders_history');
SELECT told('TRUNCATE orders_history');
SELECT told('TRUNCATE orders_history, orders_fates');
SELECT told('TRUNCATE orders, orders_history');
SELECT told('DROP TABLE orders_history');
SELECT told('ALTER TABLE orders_history DROP COLUMN reason');
SELECT told('ALTER TABLE orders_history DROP COLUMN to_state');
SELECT told('ALTER TABLE orders_history DROP COLUMN id');
SELECT told('ALTER TABLE orders_history ALTER from_state TYPE varchar(10)');
SELECT told('ALTER TABLE orders_history RENAME TO other');
SELECT told('ALTER TABLE orders_history RENAME COLUMN id TO key');
SELECT told('ALTER TABLE orders_history SET SCHEMA public');
SELECT told('ALTER TABLE orders_history DISABLE TRIGGER ALL');
SELECT told('ALTER TABLE orders_history ENABLE TRIGGER ALL');
SELECT told('DROP TRIGGER petition_cas_ledger ON orders_history');
SELECT told('DROP TRIGGER petition_cas_ledger_truncate ON orders_history');
SELECT told('ALTER TRIGGER petition_cas_ledger ON orders_history RENAME TO other');
SELECT told('ALTER TABLE orders_history SET UNLOGGED');
SELECT told('CREATE RULE r AS ON INSERT TO orders_history DO INSTEAD NOTHING');
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT told('CREATE TRIGGER t BEFORE INSERT ON orders_history FOR EACH ROW EXECUTE FUNCTION nothing()');
SELECT told($$ALTER TABLE orders_history INHERIT orders_fates$$);
CREATE TABLE parent (LIKE orders_history);
SELECT told('ALTER TABLE orders_history INHERIT parent');
SELECT told($$SELECT govern('orders_history', '{"a": ["b"]}', 'id', 'to_state')$$);
CREATE TABLE thief (id int PRIMARY KEY, state text);
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON thief FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'no_fates', '{"a": ["b"]}', '{"history": "orders_history"}')$$);
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON thief FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'orders_history', '{"a": ["b"]}')$$);
-- What is let through is told, and what could lose a record stops every transition.
CREATE TRIGGER after AFTER INSERT ON orders_history FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE UNIQUE INDEX once ON orders_history (id, moved_at);
DROP INDEX orders_history_id_idx;
GRANT INSERT ON orders_history TO PUBLIC;
SELECT problem FROM verify_fates('orders');
DROP INDEX once;
SELECT problem FROM verify_fates('orders') WHERE problem ~ 'index';
CREATE INDEX orders_history_id_idx ON orders_history (id, moved_at);
REVOKE INSERT ON orders_history FROM PUBLIC;
DROP TRIGGER after ON orders_history;
SELECT * FROM verify_fates('orders');
SET petition_cas.allow_unguard = on;
CREATE FUNCTION stopped(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    SET petition_cas.allow_unguard = off;
    RETURN QUERY SELECT problem FROM verify_fates('test_history.orders');
    RETURN QUERY SELECT '  ' || line FROM told('UPDATE orders SET state = ''packed'' WHERE id = 9') t (line) WHERE line !~ '^ ';
    RETURN QUERY SELECT '  ' || line FROM told('UPDATE orders SET state = ''new'' WHERE id = 9') t (line) WHERE line !~ '^ ';
    RETURN QUERY SELECT '  ' || line FROM told('SELECT outcome FROM try_compare_and_swap(null::orders, 9, ''packed'', ''new'')') t (line) WHERE line !~ '^ ';
    RETURN QUERY SELECT '  ' || line FROM told('INSERT INTO orders VALUES (99, ''new'')') t (line) WHERE line !~ '^ ';
    RAISE EXCEPTION 'undone';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;
SELECT stopped('ALTER TABLE orders_history DISABLE TRIGGER petition_cas_ledger');
SELECT stopped('ALTER TABLE orders_history DISABLE TRIGGER petition_cas_ledger_truncate');
SELECT stopped('DROP TABLE orders_history CASCADE');
SELECT stopped('ALTER TABLE orders_history RENAME TO other');
SELECT stopped('ALTER TABLE orders_history RENAME request_id TO other');
SELECT stopped('ALTER TABLE orders_history SET UNLOGGED');
SELECT stopped('ALTER TABLE orders_history ALTER moved_at TYPE timestamp');
SELECT stopped('ALTER TABLE orders_history ALTER id TYPE bigint');
SELECT stopped('ALTER TABLE orders_history ALTER moved_by DROP NOT NULL');
SELECT stopped('CREATE RULE r AS ON INSERT TO orders_history DO INSTEAD NOTHING');
SELECT stopped('CREATE TRIGGER t BEFORE INSERT ON orders_history FOR EACH ROW EXECUTE FUNCTION nothing()');
CREATE ROLE regress_history;
SELECT stopped('ALTER TABLE orders_history OWNER TO regress_history');
RESET petition_cas.allow_unguard;
SELECT * FROM verify_fates('orders');
-- A constraint of the user's own refuses as it is, and shows the row to those who may read it.
ALTER TABLE orders_history ADD CONSTRAINT own CHECK (moved_by <> 'bad');
GRANT USAGE ON SCHEMA test_history TO regress_history;
GRANT ALL ON orders TO regress_history;
GRANT TRUNCATE ON orders_fates, orders_history TO regress_history;
SET ROLE regress_history;
SET petition_cas.actor = 'bad';
SELECT told('UPDATE orders SET state = ''new'' WHERE id = 9');
SET petition_cas.actor = 'tester';
UPDATE orders SET state = 'new' WHERE id = 9;
SELECT told('SELECT count(*) FROM orders_history');
RESET ROLE;
ALTER TABLE orders_history DROP CONSTRAINT own;

-- The table may begin anew; its history goes with it, or stays.
SELECT told('TRUNCATE orders, orders_fates');
SELECT count(*) > 0 FROM orders_history;
INSERT INTO orders VALUES (1, 'shipped');
SELECT told('TRUNCATE orders_history, orders, orders_fates');
SELECT count(*) FROM orders_history;
SET ROLE regress_history;
SELECT told('TRUNCATE orders, orders_fates, orders_history');
RESET ROLE;
REVOKE ALL ON orders_fates, orders_history FROM regress_history;

-- It follows its table to another owner.
GRANT CREATE ON SCHEMA test_history TO regress_history;
ALTER TABLE orders OWNER TO regress_history;
SELECT relname, relowner::regrole FROM pg_class WHERE oid IN ('orders'::regclass, 'orders_fates'::regclass, 'orders_history'::regclass) ORDER BY 1;
ALTER TABLE orders_history ADD CONSTRAINT own CHECK (moved_by <> 'bad');
SELECT told('ALTER TABLE orders OWNER TO CURRENT_USER');
ALTER TABLE orders_history DROP CONSTRAINT own;
ALTER TABLE orders OWNER TO CURRENT_USER;
-- Nobody but the owner may write a new one, whatever the default privileges say.
ALTER DEFAULT PRIVILEGES IN SCHEMA test_history GRANT ALL ON TABLES TO regress_history;
CREATE TABLE parcels (id int PRIMARY KEY, state text);
SELECT govern('parcels', '{"a": ["b"]}', history => true);
SELECT privilege_type FROM information_schema.table_privileges WHERE table_schema = 'test_history' AND table_name = 'parcels_history' AND grantee = 'regress_history';
SELECT * FROM verify_fates('parcels');
ALTER DEFAULT PRIVILEGES IN SCHEMA test_history REVOKE ALL ON TABLES FROM regress_history;

-- It stays when the table is governed no more, and is taken over again.
UPDATE orders SET state = 'packed';
INSERT INTO orders VALUES (1, 'new');
SELECT ungovern('orders');
UPDATE orders SET state = 'packed';
SELECT told('DELETE FROM orders_history');
SELECT govern('orders', '{"new": ["packed"]}', history => true);
UPDATE orders SET note = 'y';
SELECT told('INSERT INTO orders VALUES (2, ''packed'')');
SELECT from_state, to_state FROM moves();
-- One that is not of this table, or not sound, is not.
SELECT ungovern('orders');
ALTER TABLE orders_history RENAME reason TO why;
SELECT told($$SELECT govern('orders', '{"new": ["packed"]}', history => true)$$);
ALTER TABLE orders_history RENAME why TO reason;
ALTER TABLE orders_history OWNER TO regress_history;
SELECT told($$SELECT govern('orders', '{"new": ["packed"]}', history => true)$$);
ALTER TABLE orders_history RENAME TO somebodys;
CREATE VIEW orders_history AS SELECT 1;
SELECT told($$SELECT govern('orders', '{"new": ["packed"]}', history => true)$$);
DROP VIEW orders_history;
-- A table that was renamed keeps it; one that gets the old name cannot have it.
SELECT govern('orders', '{"new": ["packed"]}', history => true);
ALTER TABLE orders RENAME TO former;
UPDATE former SET state = 'new' WHERE false;
CREATE TABLE orders (id int PRIMARY KEY, state text);
SELECT told($$SELECT govern('orders', '{"new": ["packed"]}', history => true)$$);
SET client_min_messages = notice;
SELECT ungovern('former');
SET client_min_messages = warning;
DROP TABLE former, orders;
SELECT count(*) FROM orders_history;

-- Several lifecycles: each has its own, or none.
CREATE TABLE carts (id int PRIMARY KEY, state text DEFAULT 'open', payment text DEFAULT 'due');
SELECT govern('carts', '{"open": ["closed"]}');
SELECT govern('carts', '{"due": ["paid"], "paid": ["back"]}', state_column => 'payment', history => true);
INSERT INTO carts VALUES (1);
UPDATE carts SET state = 'closed', payment = 'paid';
SELECT id, from_state, to_state FROM carts_payment_history ORDER BY moved_at;
SELECT state_column, ledger, history FROM governed_tables() WHERE relation = 'carts'::regclass ORDER BY 1;
SELECT told('DROP TABLE carts_payment_history');
-- Another table whose names meet those of it gets others.
CREATE TABLE carts_payment (id int PRIMARY KEY, state text);
SELECT told($$SELECT govern('carts_payment', '{"due": ["paid"]}')$$);
SELECT ungovern('carts', 'payment');
SELECT told($$SELECT govern('carts_payment', '{"due": ["paid"]}', history => true)$$);
ALTER TABLE carts_payment_fates RENAME TO carts_payment_f;
SELECT told($$SELECT govern('carts_payment', '{"due": ["paid"]}', history => true)$$);
ALTER TABLE carts_payment_f RENAME TO carts_payment_fates;
SELECT govern('carts', '{"due": ["paid"], "paid": ["back"]}', state_column => 'payment', history => true);
SELECT count(*) FROM carts_payment_history;

-- Names that are too long are shortened, and say whose they are.
SELECT repeat('long', 15) || 'a' AS a, repeat('long', 15) || 'b' AS b \gset
CREATE TABLE :"a" (id int PRIMARY KEY, state text);
CREATE TABLE :"b" (id int PRIMARY KEY, state text);
SELECT govern(quote_ident(:'a'), '{"a": ["b"]}', history => true);
SELECT govern(quote_ident(:'b'), '{"a": ["b"]}', history => true);
INSERT INTO :"b" VALUES (1, 'a');
SELECT relation, history FROM governed_tables() WHERE relation IN (quote_ident(:'a')::regclass, quote_ident(:'b')::regclass) ORDER BY 1;
SELECT count(*) FROM longlonglonglonglonglonglonglonglonglonglonglonglonglon_history;
SELECT count(*) FROM longlonglonglonglonglonglonglonglonglonglonglonglonglo_history1;
SELECT ungovern(quote_ident(:'b'));
SELECT govern(quote_ident(:'b'), '{"a": ["b"]}', history => true);
SELECT history FROM governed_tables() WHERE relation = quote_ident(:'b')::regclass;

-- Partitions: a row that moves to another one is deleted there and inserted here.
CREATE TABLE cases (id int, region int, state text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE cases_1 PARTITION OF cases FOR VALUES IN (1);
CREATE TABLE cases_2 PARTITION OF cases FOR VALUES IN (2);
SELECT govern('cases', '{"a": ["b", "c"], "b": ["c"]}', history => true);
INSERT INTO cases VALUES (1, 1, 'a');
UPDATE cases_1 SET state = 'b';
UPDATE cases SET region = 2;
SELECT state FROM compare_and_swap(null::cases, '[1, 2]', 'b', 'c');
SELECT id, region, from_state, to_state FROM cases_history ORDER BY moved_at;
-- A partition without its guard is found when a row of it moves.
INSERT INTO cases VALUES (2, 1, 'a');
SET petition_cas.allow_unguard = on;
ALTER TABLE cases_1 DISABLE TRIGGER petition_cas_guard;
RESET petition_cas.allow_unguard;
SELECT told($$SELECT outcome FROM try_compare_and_swap(null::cases, '[2, 1]', 'a', 'b')$$);
SET petition_cas.allow_unguard = on;
ALTER TABLE cases_1 ENABLE ALWAYS TRIGGER petition_cas_guard;
RESET petition_cas.allow_unguard;

-- keep_rows false, key columns with the names of the history's, states of other types, domains.
CREATE DOMAIN odd AS int CHECK (value % 2 = 1);
CREATE TABLE tickets (to_state odd, moved_at text COLLATE "C", state smallint, PRIMARY KEY (to_state, moved_at));
SELECT govern('tickets', '{"0": ["1"], "1": ["2"]}', keep_rows => false, history => true);
INSERT INTO tickets VALUES (1, 'x', 0), (3, 'y', 1);
SELECT key, outcome FROM compare_and_swap_many(null::tickets, ARRAY['[1, "x"]', '[3, "y"]'], '0', '1');
UPDATE tickets SET state = 2;
DELETE FROM tickets;
SELECT to_state_key, moved_at_key, from_state, to_state FROM tickets_history ORDER BY 1, moved_at;
SELECT * FROM verify_fates('tickets');

-- The set form writes one statement's rows together, unless somebody could look.
CREATE TABLE seen (n bigint);
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen SELECT count(*) FROM test_history.parcels_history WHERE to_state = ''b''; RETURN NULL; END';
INSERT INTO parcels SELECT n, 'a' FROM generate_series(1, 3) n;
CREATE TRIGGER zz AFTER UPDATE ON parcels FOR EACH ROW EXECUTE FUNCTION look();
SELECT count(*) FROM compare_and_swap_many(null::parcels, ARRAY[1, 2, 3], 'a', 'b');
SELECT * FROM seen;
SELECT told($$SELECT govern('parcels', '{"a": ["b"]}', history => null)$$);
-- What is no history is none.
SET petition_cas.allow_unguard = on;
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON thief FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'f', '{"a": ["b"]}', '{"history": true}');
SELECT told('INSERT INTO thief VALUES (1, ''a'')');
RESET petition_cas.allow_unguard;

SET client_min_messages = warning;
DROP SCHEMA test_history CASCADE;
DROP ROLE regress_history;
