-- Other columns that are set in the same UPDATE, a reason, and a table that is a
-- parameter.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_swap_changes;
SET search_path = test_swap_changes, public;

CREATE TYPE size AS (w int, h int);
CREATE TABLE orders (id int PRIMARY KEY, state text NOT NULL, other text DEFAULT 'x', shipped_at timestamptz, parcel int CHECK (parcel > 0), "Odd {name}" text, size size, tags text[],
    twice int GENERATED ALWAYS AS (parcel * 2) STORED, CHECK ((state = 'shipped') = (shipped_at IS NOT NULL)));
SELECT govern('orders', '{"packing": ["shipped", "lost"]}');
SELECT govern('orders', '{"x": ["y"]}', state_column => 'other');
INSERT INTO orders (id, state) SELECT n, 'packing' FROM generate_series(1, 9) n;

SELECT told($$SELECT compare_and_swap(NULL::orders, 1, 'packing', 'shipped', state_column => 'state')$$);
SELECT id, state, shipped_at = now() AS now, parcel, twice, "Odd {name}", size, tags
FROM compare_and_swap(NULL::orders, 1, 'packing', 'shipped', '{"shipped_at": "now", "parcel": 7, "Odd {name}": "a $4 {b}", "size": {"w": 1, "h": 2}, "tags": ["a", "b"]}', state_column => 'state');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 2, 'packing', 'lost', '{"parcel": null}', state_column => 'state');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 3, 'packing', 'lost', '{}', state_column => 'state');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 1, 'packing', 'lost', '{"parcel": 9}', state_column => 'state');
SELECT id, state, parcel FROM orders WHERE id < 4 ORDER BY id;
-- A domain of another column need not allow NULL; and a length is kept.
CREATE DOMAIN needed AS int NOT NULL;
CREATE TABLE parcels (id int PRIMARY KEY, state text, weight needed, label varchar(5));
SELECT govern('parcels', '{"packed": ["sent"]}');
INSERT INTO parcels SELECT n, 'packed', 1, 'x' FROM generate_series(1, 3) n;
SELECT * FROM compare_and_swap(NULL::parcels, 1, 'packed', 'sent', '{"label": "red"}');
SELECT told($$SELECT compare_and_swap(NULL::parcels, 2, 'packed', 'sent', '{"label": "yellow"}')$$);
SELECT told($$SELECT compare_and_swap(NULL::parcels, 2, 'packed', 'sent', '{"weight": null}')$$);
SELECT * FROM compare_and_swap(NULL::parcels, 3, 'packed', 'sent', '{"weight": 3}');

-- Refused: what does not exist, governs, is checked, or is no object.
SELECT changes, told(format('SELECT compare_and_swap(NULL::orders, 4, ''packing'', ''lost'', %L, state_column => ''state'')', changes))
FROM unnest(ARRAY['{"none": 1}', '{"ctid": 1}', '{"id": 9}', '{"state": "x"}', '{"other": "y"}', '{"parcel": 0}', '{"parcel": "x"}', '{"twice": 1}', '[1]', '1', 'null', '"a"']) changes;
SELECT id, state, parcel FROM orders WHERE id = 4;
-- The caller needs his rights on what he sets.
CREATE ROLE regress_changes;
GRANT USAGE ON SCHEMA test_swap_changes TO regress_changes;
GRANT SELECT, UPDATE (state, parcel) ON orders TO regress_changes;
SET ROLE regress_changes;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 5, 'packing', 'lost', '{"parcel": 5}', state_column => 'state');
SELECT told($$SELECT compare_and_swap(NULL::orders, 6, 'packing', 'lost', '{"tags": null}', state_column => 'state')$$);
RESET ROLE;

-- A reason is recorded in the ledger, by argument or by setting, for whatever SQL.
SELECT outcome FROM try_compare_and_swap(NULL::orders, 6, 'packing', 'lost', reason => 'fell off', state_column => 'state');
SHOW petition_cas.reason;
BEGIN;
SET LOCAL petition_cas.reason = 'a storm';
SET LOCAL petition_cas.request_id = 'r-17';
UPDATE orders SET state = 'lost' WHERE id = 7;
SELECT outcome FROM try_compare_and_swap(NULL::orders, 8, 'packing', 'lost', reason => 'a thief', state_column => 'state');
COMMIT;
SELECT id, reason, request_id, evidence_hash FROM orders_fates ORDER BY id;
SELECT told($$SELECT compare_and_swap(NULL::orders, 9, 'packing', 'lost', reason => repeat('x', 10001), state_column => 'state')$$);
SELECT told($$SET petition_cas.request_id = '$$ || repeat('x', 256) || $$'$$);
SELECT outcome, length(reason) FROM try_compare_and_swap(NULL::orders, 9, 'packing', 'lost', reason => repeat('x', 10000), state_column => 'state'), orders_fates WHERE id = 9;
SELECT length(reason) FROM orders_fates WHERE id = 9;
-- On petitions it is the fate's reason as well.
SELECT create_petitions();
INSERT INTO petition_submissions (id, text) SELECT pid(n), 'text' FROM generate_series(1, 3) n;
SELECT fate_reason FROM assign_fate(pid(1), 'RECEIVED', 'ACKNOWLEDGED', 'seen');
SELECT outcome FROM assign_fates(ARRAY[pid(2)], 'RECEIVED', 'ACKNOWLEDGED', 'both');
SELECT p.id, fate_reason, reason FROM petition_submissions p JOIN petition_submissions_fates USING (id) ORDER BY id;

-- The table as a parameter.
PREPARE swap AS SELECT * FROM try_compare_and_swap($1::regclass, $2, 'x', 'y', state_column => 'other');
EXECUTE swap ('orders', '1');
EXECUTE swap ('test_swap_changes.orders', '1');
SELECT told($$SELECT try_compare_and_swap('pg_class'::regclass, 1, 'x', 'y')$$);
SELECT told($$SELECT try_compare_and_swap(0::regclass, 1, 'x', 'y')$$);
SELECT told($$SELECT try_compare_and_swap(NULL::regclass, 1, 'x', 'y')$$);
DROP OWNED BY regress_changes;
DROP ROLE regress_changes;
