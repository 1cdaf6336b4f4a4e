-- Where rows begin, and whether they may end.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_keep_rows;
SET search_path = test_keep_rows, public;

-- initial_states: in which states a row may be inserted.
CREATE TABLE docs (id int PRIMARY KEY, state text);
SELECT told($$SELECT govern('docs', '{"draft": ["sent"], "sent": ["read"]}', initial_states => '{draft,wrong}')$$);
SELECT told($$SELECT govern('docs', '{"draft": ["sent"], "sent": ["read"]}', initial_states => '{draft,NULL}')$$);
SELECT govern('docs', '{"draft": ["sent"], "sent": ["read"]}', initial_states => '{draft,sent}');
INSERT INTO docs VALUES (1, 'draft'), (2, 'sent');
SELECT told($$INSERT INTO docs VALUES (3, 'read')$$);
SELECT told($$INSERT INTO docs VALUES (1, 'read') ON CONFLICT (id) DO UPDATE SET state = 'sent'$$);
SELECT extend_lifecycle('docs', '{"draft": ["void"]}');
SELECT told($$INSERT INTO docs VALUES (3, 'void')$$);
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'docs'::regclass AND tgname = 'petition_cas_guard';
CREATE TABLE closed (id int PRIMARY KEY, state text);
SELECT told($$SELECT govern('closed', '{"a": ["b"]}', initial_states => '{}')$$);

-- keep_rows => false: fated rows may go, their fates stay.
CREATE TABLE jobs (id int PRIMARY KEY, state text);
CREATE TABLE steps (job int REFERENCES jobs ON DELETE CASCADE, n int);
SELECT govern('jobs', '{"new": ["done", "failed"]}', keep_rows => false);
INSERT INTO jobs SELECT n, 'new' FROM generate_series(1, 6) n;
UPDATE jobs SET state = 'done' WHERE id < 4;
DELETE FROM jobs WHERE id < 3;
SELECT * FROM jobs ORDER BY id;
SELECT id, fate FROM jobs_fates ORDER BY id;
SELECT * FROM verify_fates('jobs');
-- A new row with the key can get no other fate, and not the same one again.
INSERT INTO jobs VALUES (1, 'new'), (2, 'new');
SELECT told($$UPDATE jobs SET state = 'failed' WHERE id = 1$$);
SELECT told($$UPDATE jobs SET state = 'done' WHERE id = 1$$);
SELECT told($$INSERT INTO jobs VALUES (7, 'done')$$);
DELETE FROM jobs WHERE id = 7;
SELECT told($$INSERT INTO jobs VALUES (7, 'done')$$);
SELECT told($$SELECT compare_and_swap(NULL::jobs, 1, 'new', 'done')$$);
SELECT * FROM try_compare_and_swap(NULL::jobs, 1, 'new', 'done');
SELECT * FROM try_compare_and_swap(NULL::jobs, 4, 'new', 'done');
SELECT * FROM compare_and_swap_many(NULL::jobs, ARRAY[1, 5, 2, 3], 'new', 'failed');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM try_compare_and_swap(NULL::jobs, 2, 'new', 'done');
SELECT * FROM try_compare_and_swap(NULL::jobs, 6, 'new', 'failed');
COMMIT;
SELECT * FROM verify_fates('jobs') ORDER BY key;
SELECT id, fate FROM jobs_fates ORDER BY id;
-- A ledger from before is taken over with fates whose rows are gone.
SELECT ungovern('jobs');
SELECT told($$SELECT govern('jobs', '{"new": ["done", "failed"]}')$$);
DELETE FROM jobs WHERE id IN (1, 2);
SELECT told($$SELECT govern('jobs', '{"new": ["done", "failed"]}')$$);
SELECT told($$SELECT govern('jobs', '{"new": ["done", "failed"]}', keep_rows => false)$$);

-- A fate that a trigger wanted to give a row of another table is that table's error.
CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT govern('cases', '{"open": ["done", "dead"]}');
INSERT INTO cases VALUES (1, 'done');
CREATE TABLE tasks (id int PRIMARY KEY, state text);
SELECT govern('tasks', '{"open": ["done", "dead"]}', keep_rows => false);
INSERT INTO tasks VALUES (1, 'open'), (2, 'open');
CREATE FUNCTION bury() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM compare_and_swap(NULL::cases, 1, 'open', 'dead'); RETURN NULL; END $$;
CREATE TRIGGER zz AFTER UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION bury();
SELECT told($$SELECT * FROM try_compare_and_swap(NULL::tasks, 1, 'open', 'done')$$);
SELECT told($$SELECT * FROM compare_and_swap_many(NULL::tasks, ARRAY[1, 2], 'open', 'done')$$);
DROP TRIGGER zz ON tasks;
SELECT outcome FROM compare_and_swap_many(NULL::tasks, ARRAY[1, 2], 'open', 'done');
