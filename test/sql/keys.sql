-- Keys of several columns: the primary key, whatever its columns, is the default.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_keys;
SET search_path = test_keys, public;

CREATE TABLE orders (tenant int, id bigint, state text NOT NULL DEFAULT 'open', PRIMARY KEY (tenant, id));
SELECT govern('orders', '{"open": ["packing"], "packing": ["shipped", "lost"]}');
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
WHERE attrelid = 'orders_fates'::regclass AND attnum > 0 ORDER BY attnum;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'orders_fates'::regclass AND contype = 'p';
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND tgname = 'petition_cas_guard';
INSERT INTO orders VALUES (7, 42, 'open'), (7, 43, 'open'), (8, 42, 'open'), (8, 43, 'lost');

-- The key is a JSON array in the key's order, or an object; numbers and strings alike.
SELECT compare_and_swap(NULL::orders, '["7", "42"]', 'open', 'packing');
SELECT compare_and_swap(NULL::orders, '[7, 42]', 'packing', 'shipped');
SELECT told($$SELECT compare_and_swap(NULL::orders, '{"id": 42, "tenant": 7}', 'packing', 'lost')$$);
SELECT told($$SELECT compare_and_swap(NULL::orders, jsonb_build_array(8, 42), 'open', 'packing')$$);
SELECT told($$SELECT compare_and_swap(NULL::orders, json_build_object('tenant', 8, 'id', 42), 'packing', 'lost')$$);
SELECT told($$SELECT try_compare_and_swap(NULL::orders, '[8, 44]', 'open', 'packing')$$);
SELECT told($$SELECT compare_and_swap(NULL::orders, $$ || quote_literal(key) || $$, 'open', 'packing')$$)
FROM unnest(ARRAY['7', '[7]', '[7, 42, 1]', '{"tenant": 7}', '{"tenant": 7, "id": 42, "x": 1}', '{"tenant": 7, "ID": 42}',
    '[7, null]', '[7, true]', '[7, [42]]', '"7"', '', '[7, 4.5]', '[7, "x"]', '[7']) key;
SELECT * FROM orders ORDER BY tenant, id;
SELECT tenant, id, from_state, fate, assigned_by FROM orders_fates ORDER BY tenant, id;

-- Plain SQL meets the guard, which knows a row by the whole key.
SELECT told($$UPDATE orders SET state = 'packing' WHERE tenant = 7$$);
SELECT told($$UPDATE orders SET tenant = 9 WHERE tenant = 7 AND id = 43$$);
SELECT told($$UPDATE orders SET id = 9 WHERE tenant = 7 AND id = 43$$);
SELECT told($$DELETE FROM orders WHERE tenant = 8$$);
UPDATE orders SET state = 'packing' WHERE id = 43 AND tenant = 7;
UPDATE orders SET state = 'shipped' WHERE id = 43;
SELECT * FROM verify_fates('orders');
SELECT told($$INSERT INTO orders VALUES (9, 1, 'lost') $$);
SELECT told($$ALTER TABLE orders DROP CONSTRAINT orders_pkey$$);
SELECT told($$ALTER TABLE orders_fates DROP CONSTRAINT orders_fates_pkey$$);
SELECT told($$ALTER TABLE orders ALTER tenant TYPE bigint$$);
SELECT told($$ALTER TABLE orders DROP tenant$$);
SELECT told($$ALTER TABLE orders_fates DROP tenant CASCADE$$);
SELECT told($$ALTER TABLE orders RENAME tenant TO customer$$);
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
ALTER TABLE orders_fates DISABLE TRIGGER ALL;
DELETE FROM orders_fates WHERE tenant = 7 AND id = 42;
UPDATE orders_fates SET fate = 'shipped' WHERE tenant = 8 AND id = 43;
INSERT INTO orders_fates SELECT 6, 1, from_state, fate, assigned_at, assigned_by, transaction_id FROM orders_fates LIMIT 1;
ALTER TABLE orders_fates ENABLE ALWAYS TRIGGER petition_cas_ledger, ENABLE ALWAYS TRIGGER petition_cas_ledger_truncate;
SELECT * FROM verify_fates('orders') ORDER BY key;
SELECT backfill_fates('orders');
SELECT * FROM verify_fates('orders') ORDER BY key;
ROLLBACK;

-- A ledger from before is taken over if its key is the same.
SELECT ungovern('orders');
SELECT told($$SELECT govern('orders', '{"open": ["packing"], "packing": ["shipped", "lost"]}', 'id')$$);
SELECT told($$SELECT govern('orders', '{"open": ["packing"], "packing": ["shipped", "lost"]}')$$);

-- Three columns of types that print by the session's settings, a domain among them.
CREATE DOMAIN label AS text CHECK (VALUE <> '');
CREATE TABLE readings (at timestamptz, part label, n numeric, state text, PRIMARY KEY (part, at, n));
SELECT govern('readings', '{"new": ["kept", "dropped"]}');
SET timezone = 'Asia/Tokyo';
SET datestyle = 'SQL, DMY';
INSERT INTO readings VALUES ('2026-02-01 12:00+00', 'a "b"', 1.50, 'new'), ('2026-02-02 12:00+00', 'ü', 2, 'new');
SELECT compare_and_swap(NULL::readings, '["a \"b\"", "2026-02-01 12:00:00+00", 1.5]', 'new', 'kept');
SELECT told($$SELECT compare_and_swap(NULL::readings, '{"at": "2026-02-01 12:00:00+00", "n": "1.5", "part": "a \"b\""}', 'new', 'dropped')$$);
RESET timezone;
RESET datestyle;
SELECT * FROM verify_fates('readings');

-- Key columns that have the names of columns of the ledger and of a history.
CREATE TABLE clash (fate text, moved_at date, state text, PRIMARY KEY (fate, moved_at));
SELECT govern('clash', '{"a": ["b"]}');
INSERT INTO clash VALUES ('x', '2026-01-02', 'a');
SELECT (compare_and_swap(NULL::clash, '["x", "2026-01-02"]', 'a', 'b')).state;
SELECT fate_key, moved_at_key, from_state, fate FROM clash_fates;
SELECT told($$UPDATE clash SET state = 'a'$$);
SELECT * FROM verify_fates('clash');

-- A table partitioned by time, with the time in its key.
CREATE TABLE events (id bigint, created_at date, state text, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT govern('events', '{"new": ["done", "failed"]}');
INSERT INTO events SELECT n, date '2026-01-30' + n, 'new' FROM generate_series(0, 5) n;
SELECT (compare_and_swap(NULL::events, '[0, "2026-01-30"]', 'new', 'done')).state, (compare_and_swap(NULL::events, '[5, "2026-02-04"]', 'new', 'failed')).state;
SELECT told($$UPDATE events SET created_at = '2026-02-03' WHERE id = 1$$);
SELECT told($$UPDATE events SET created_at = '2026-02-03' WHERE id = 0$$);
SELECT told($$SELECT compare_and_swap(NULL::events, '[0, "2026-01-30"]', 'new', 'failed')$$);
SELECT * FROM verify_fates('events');
SELECT id, created_at, fate FROM events_fates ORDER BY id;

-- A key in any type that has its text form.
CREATE TABLE plain (id bigint PRIMARY KEY, state text);
SELECT govern('plain', '{"a": ["b"]}');
INSERT INTO plain SELECT n, 'a' FROM generate_series(1, 8) n;
SELECT (compare_and_swap(NULL::plain, 1, 'a', 'b')).id;
SELECT (compare_and_swap(NULL::plain, 2::bigint, 'a', 'b')).id;
SELECT (compare_and_swap(NULL::plain, 3::smallint, 'a', 'b')).id;
SELECT (compare_and_swap(NULL::plain, '4', 'a', 'b')).id;
SELECT (compare_and_swap(NULL::plain, 5::numeric, 'a', 'b')).id;
SELECT (compare_and_swap(NULL::plain, '6'::varchar, 'a', 'b')).id;
SELECT (compare_and_swap(NULL::plain, '7'::name, 'a', 'b')).id;
PREPARE swap AS SELECT (compare_and_swap(NULL::plain, $1, 'a', 'b')).id;
EXECUTE swap ('8');
SELECT told($$SELECT compare_and_swap(NULL::plain, 1.5, 'a', 'b')$$);
SELECT told($$SELECT compare_and_swap(NULL::plain, true, 'a', 'b')$$);
SELECT told($$SELECT compare_and_swap(NULL::plain, NULL::int, 'a', 'b')$$);
