-- compare_and_swap_many: one statement, an outcome for each key.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_swap_many;
SET search_path = test_swap_many, public;

CREATE TABLE jobs (tenant int, id bigint, state int NOT NULL DEFAULT 0, worker text, PRIMARY KEY (tenant, id));
SELECT govern('jobs', '{"0": ["1"], "1": ["2", "3", "0"]}');
INSERT INTO jobs SELECT t, n FROM generate_series(1, 2) t, generate_series(1, 5) n;
SELECT * FROM compare_and_swap_many(NULL::jobs, ARRAY['[1, 2]', '[2, 1]', '[1, 1]', '[9, 9]', '[1, 2]'], '0', '1', '{"worker": "w1"}');
SELECT * FROM compare_and_swap_many(NULL::jobs, ARRAY[jsonb_build_array(1, 1), '{"id": 2, "tenant": 1}', '[1, 3]'], '1', '2', reason => 'done');
SELECT * FROM compare_and_swap_many(NULL::jobs, ARRAY['[1, 1]', '[2, 1]', '[2, 1]'], '1', '3');
SELECT * FROM compare_and_swap_many(NULL::jobs, ARRAY['[1, 3]'], '0', '2');
SELECT * FROM compare_and_swap_many(NULL::jobs, '{}'::text[], '0', '1');
SELECT told($$SELECT compare_and_swap_many(NULL::jobs, ARRAY['[1, 3]', NULL], '0', '1')$$);
SELECT told($$SELECT compare_and_swap_many(NULL::jobs, NULL::text[], '0', '1')$$);
SELECT told($$SELECT compare_and_swap_many(NULL::jobs, ARRAY['[1]'], '0', '1')$$);
SELECT * FROM jobs WHERE state > 0 ORDER BY tenant, id;
SELECT tenant, id, from_state, fate, reason FROM jobs_fates ORDER BY tenant, id;
SELECT * FROM verify_fates('jobs');

-- Any key type, arrays of any type.
CREATE TABLE items (id int PRIMARY KEY, state text);
SELECT govern('items', '{"a": ["b", "c"]}');
INSERT INTO items SELECT n, 'a' FROM generate_series(1, 1000) n;
SELECT outcome, current_state, count(*) FROM compare_and_swap_many(NULL::items, ARRAY(SELECT generate_series(900, 1, -1)), 'a', 'b') GROUP BY 1, 2;
SELECT outcome, count(*) FROM compare_and_swap_many(NULL::items, ARRAY(SELECT n::text FROM generate_series(891, 1005) n), 'a', 'c') GROUP BY 1 ORDER BY 1;
SELECT array_agg(key ORDER BY ordinality) FROM compare_and_swap_many(NULL::items, '{3,1,2}'::bigint[], 'a', 'b') WITH ORDINALITY;
SELECT fate, count(*) FROM items_fates GROUP BY 1 ORDER BY 1;
SELECT * FROM verify_fates('items');
-- At every isolation level.
UPDATE items SET state = state;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO items VALUES (2001, 'a'), (2002, 'a');
SELECT * FROM compare_and_swap_many(NULL::items, ARRAY[2001, 1, 2002], 'a', 'c');
COMMIT;
-- A key that is an array cannot be given with others.
CREATE TABLE arrays (id int[] PRIMARY KEY, state text);
SELECT govern('arrays', '{"a": ["b"]}');
INSERT INTO arrays VALUES ('{1,2}', 'a');
SELECT told($$SELECT compare_and_swap_many(NULL::arrays, ARRAY['{1,2}'], 'a', 'b')$$);
SELECT * FROM try_compare_and_swap(NULL::arrays, '{1,2}'::int[], 'a', 'b');
