-- A decision that is sent again is told that it was made; another one is not.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_request_id;
SET search_path = test_request_id, public;
CREATE TABLE orders (id int PRIMARY KEY, state text DEFAULT 'new', note text);
SELECT govern('orders', '{"new": ["open", "sent", "lost"], "open": ["new", "sent", "lost"]}', evidence => '{note}');
INSERT INTO orders SELECT n, 'new', 'note' FROM generate_series(1, 30) n;

SELECT compare_and_swap(NULL::orders, 1, 'new', 'sent', '{"note": "a"}', 'why', request_id => 'r1');
SELECT compare_and_swap(NULL::orders, 1, 'new', 'sent', '{"note": "b"}', 'other', request_id => 'r1');
SELECT * FROM try_compare_and_swap(NULL::orders, 1, 'new', 'sent', request_id => 'r1');
SELECT * FROM try_compare_and_swap('orders'::regclass, 1, 'new', 'sent', request_id => 'r1');
SELECT id, fate, reason, request_id FROM orders_fates;
-- Another decision, another request, or none: the loser that it is.
SELECT expected, wanted, request, told(format($$SELECT compare_and_swap(NULL::orders, 1, %L, %L, request_id => %L)$$, expected, wanted, request))
FROM (VALUES ('new', 'lost', 'r1'), ('open', 'sent', 'r1'), ('new', 'sent', 'r2'), ('new', 'sent', NULL), ('new', 'sent', 'R1')) v (expected, wanted, request);
SELECT outcome FROM try_compare_and_swap(NULL::orders, 2, 'open', 'sent', request_id => 'r1');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 99, 'new', 'sent', request_id => 'r1');
-- The hash that was seen before it was decided does not hinder.
SELECT outcome FROM try_compare_and_swap(NULL::orders, 3, 'new', 'sent', seen_hash => (SELECT evidence_hash(o) FROM orders o WHERE id = 3), request_id => 'r3');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 3, 'new', 'sent', seen_hash => repeat('0', 64), request_id => 'r3');
-- In one transaction, at every isolation level.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 4, 'new', 'sent', request_id => 'r4');
SELECT compare_and_swap(NULL::orders, 4, 'new', 'sent', request_id => 'r4');
ROLLBACK;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 4, 'new', 'lost', request_id => 'r4');
-- The setting is only recorded.
SET petition_cas.request_id = 'plain';
UPDATE orders SET state = 'sent' WHERE id = 5;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 5, 'new', 'sent');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 6, 'new', 'sent', request_id => 'argument');
SHOW petition_cas.request_id;
RESET petition_cas.request_id;
SELECT id, request_id FROM orders_fates WHERE id > 4 ORDER BY id;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 5, 'new', 'sent', request_id => 'plain');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 6, 'new', 'sent', request_id => 'argument');

-- Sets.
SELECT * FROM compare_and_swap_many(NULL::orders, '{7,8,7,99}'::int[], 'new', 'sent', request_id => 'set');
SELECT * FROM compare_and_swap_many(NULL::orders, '{9,8,7,8,1,2,99}'::int[], 'new', 'sent', request_id => 'set');
SELECT * FROM compare_and_swap_many(NULL::orders, '{9,8}'::int[], 'new', 'lost', request_id => 'set');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM compare_and_swap_many(NULL::orders, '{9,10,8}'::int[], 'new', 'sent', request_id => 'set');
COMMIT;

-- What would be kept nowhere, or cannot be recorded.
SELECT told($$SELECT compare_and_swap(NULL::orders, 11, 'new', 'open', request_id => 'r')$$);
SELECT told($$SELECT compare_and_swap_many(NULL::orders, '{11}'::int[], 'new', 'open', request_id => 'r')$$);
SELECT told($$SELECT compare_and_swap(NULL::orders, 11, 'new', 'new', request_id => 'r')$$);
SELECT told($$SELECT compare_and_swap(NULL::orders, 11, 'new', 'sent', request_id => '')$$);
SELECT told($$SELECT compare_and_swap(NULL::orders, 1, 'new', 'sent', request_id => repeat('x', 256))$$);
SELECT outcome FROM try_compare_and_swap(NULL::orders, 11, 'new', 'sent', request_id => repeat('é', 127));
SELECT outcome FROM try_compare_and_swap(NULL::orders, 11, 'new', 'sent', request_id => repeat('é', 127));

-- A caller needs no rights on the ledger to be told; a row that is hidden from him stays hidden.
CREATE ROLE regress_request;
GRANT USAGE ON SCHEMA test_request_id TO regress_request;
GRANT SELECT, UPDATE ON orders TO regress_request;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON orders USING (note IS DISTINCT FROM 'secret');
SET ROLE regress_request;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 12, 'new', 'sent', request_id => 'r12');
SELECT compare_and_swap(NULL::orders, 12, 'new', 'sent', request_id => 'r12');
RESET ROLE;
UPDATE orders SET note = 'secret' WHERE id = 13;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 13, 'new', 'sent', request_id => 'r13');
SET ROLE regress_request;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 13, 'new', 'sent', request_id => 'r13');
SELECT told($$SELECT compare_and_swap(NULL::orders, 13, 'new', 'sent', request_id => 'r13')$$);
SELECT * FROM compare_and_swap_many(NULL::orders, '{12,13}'::int[], 'new', 'sent', request_id => 'r13');
RESET ROLE;

-- A row that is gone by now: there was a decision, and there is no row.
CREATE TABLE jobs (id int PRIMARY KEY, state text DEFAULT 'new', note text DEFAULT 'x');
SELECT govern('jobs', '{"new": ["done", "failed"]}', keep_rows => false);
INSERT INTO jobs SELECT n FROM generate_series(1, 9) n;
SELECT compare_and_swap(NULL::jobs, n, 'new', 'done', request_id => 'j' || n) FROM generate_series(1, 4) n;
DELETE FROM jobs WHERE id < 4;
SELECT compare_and_swap(NULL::jobs, 1, 'new', 'done', request_id => 'j1') IS NULL AS no_row;
SELECT * FROM try_compare_and_swap(NULL::jobs, 1, 'new', 'done', request_id => 'j1');
SELECT told($$SELECT compare_and_swap(NULL::jobs, 1, 'new', 'done', request_id => 'other')$$);
SELECT * FROM try_compare_and_swap(NULL::jobs, 1, 'new', 'failed', request_id => 'j1');
SELECT * FROM compare_and_swap_many(NULL::jobs, '{1,2,4}'::int[], 'new', 'done', request_id => 'j1');
-- And a new row with its key gets no fate, but the request had its own.
INSERT INTO jobs VALUES (2);
SELECT compare_and_swap(NULL::jobs, 2, 'new', 'done', request_id => 'j2');
SELECT * FROM try_compare_and_swap(NULL::jobs, 2, 'new', 'done', request_id => 'j2');
SELECT told($$SELECT compare_and_swap(NULL::jobs, 2, 'new', 'done', request_id => 'j9')$$);
SELECT * FROM try_compare_and_swap(NULL::jobs, 2, 'new', 'done', request_id => 'j9');

-- Petitions.
SELECT create_petitions();
INSERT INTO petition_submissions (id, text) SELECT pid(n), 'text' FROM generate_series(1, 9) n;
SELECT state, fate_reason FROM assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', 'why', request_id => 'p1');
SELECT state, fate_reason FROM assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', 'other', request_id => 'p1');
SELECT told($$SELECT assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', request_id => 'p2')$$);
SELECT * FROM try_assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', request_id => 'p1');
SELECT outcome FROM assign_fates(ARRAY[pid(1), pid(2), pid(2)], 'RECEIVED', 'ACKNOWLEDGED', request_id => 'p1');
SELECT outcome FROM assign_fates(ARRAY[pid(1), pid(2), pid(3)], 'RECEIVED', 'ACKNOWLEDGED', NULL, 'p1');
ALTER TABLE petition_submissions ADD extra int;
SELECT state, fate_reason FROM assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', 'other', request_id => 'p1');
SELECT count(*) FROM petition_submissions_fates;

RESET search_path;
DROP SCHEMA test_request_id CASCADE;
DROP ROLE regress_request;
