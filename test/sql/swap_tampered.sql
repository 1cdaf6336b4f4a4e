-- What the swaps make of rows that only tampering leaves: a null state, and a
-- key that several rows have.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA swap_tampered;
SET search_path = swap_tampered, public;

CREATE TABLE orders (id int PRIMARY KEY, state text);
SELECT govern('orders', '{"open": ["hold", "closed"], "hold": ["open"]}');
SELECT create_petitions();
ALTER TABLE petition_submissions ALTER state DROP NOT NULL;

-- A null state: there is a row, which is told, and it has not been deleted.
SET session_replication_role = replica;
INSERT INTO orders VALUES (1, NULL), (2, '');
INSERT INTO petition_submissions (id, text, state) VALUES (pid(1), 'text', NULL);
RESET session_replication_role;
SELECT told($$ SELECT compare_and_swap(NULL::orders, '1', 'open', 'hold') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '2', 'open', 'hold') $$);
SELECT told($$ SELECT compare_and_swap(NULL::orders, '3', 'open', 'hold') $$);
SELECT told($$ SELECT assign_fate(pid(1), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(pid(1), 'DELIBERATING', 'RECEIVED') $$);
\pset null '(null)'
SELECT * FROM try_compare_and_swap(NULL::orders, '1', 'open', 'hold');
SELECT * FROM try_compare_and_swap(NULL::orders, '2', 'open', 'hold');
SELECT * FROM try_compare_and_swap(NULL::orders, '3', 'open', 'hold');
SELECT * FROM try_assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
SELECT * FROM assign_fates(ARRAY[pid(1), pid(2)], 'DELIBERATING', 'REFERRED');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM try_compare_and_swap(NULL::orders, '1', 'open', 'hold');
SELECT * FROM assign_fates(ARRAY[pid(1), pid(2)], 'DELIBERATING', 'REFERRED');
COMMIT;
\pset null ''
-- The call of the hint.
SELECT * FROM verify_fates('swap_tampered.orders');
DELETE FROM orders;
DELETE FROM petition_submissions;

-- Two rows with one key, past an index that says it is unique.
SET allow_system_table_mods = on;
UPDATE pg_index SET indisunique = false WHERE indexrelid IN ('orders_pkey'::regclass, 'petition_submissions_pkey'::regclass);
INSERT INTO orders VALUES (1, 'open'), (1, 'open'), (2, 'open');
INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM unnest('{1,1,2}'::int[]) n;
UPDATE pg_index SET indisunique = true WHERE indexrelid = 'orders_pkey'::regclass;
SELECT told($$ SELECT compare_and_swap(NULL::orders, '1', 'open', 'hold') $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::orders, '1', 'open', 'hold') $$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT told($$ SELECT try_compare_and_swap(NULL::orders, '1', 'open', 'hold') $$);
COMMIT;
-- A fate is refused by the ledger, before anybody has counted.
SELECT told($$ SELECT try_compare_and_swap(NULL::orders, '1', 'open', 'closed') $$);
SELECT told($$ SELECT outcome FROM try_compare_and_swap(NULL::orders, '2', 'open', 'closed') $$);
-- The set form, while the server knows that the index is not unique, so that it
-- updates all that match.
SELECT told($$ SELECT assign_fates(ARRAY[pid(1), pid(2)], 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT assign_fates(ARRAY[pid(2)], 'DELIBERATING', 'REFERRED') $$);
UPDATE pg_index SET indisunique = true WHERE indexrelid = 'petition_submissions_pkey'::regclass;
RESET allow_system_table_mods;
-- Nothing stays of what was refused.
SELECT * FROM orders ORDER BY id;
SELECT id, state FROM petition_submissions ORDER BY id;
SELECT id, fate FROM orders_fates UNION ALL SELECT NULL, fate FROM petition_submissions_fates;

-- A ledger whose columns are no longer those that govern made: what they would
-- tell is left out.
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
ALTER TABLE orders_fates ALTER assigned_at TYPE text;
SELECT told($$ SELECT compare_and_swap(NULL::orders, '2', 'open', 'hold') $$);
ROLLBACK;
-- The composite type with a column more, or one less.
BEGIN;
ALTER TYPE petition_submission ADD ATTRIBUTE more text;
SELECT told($$ SELECT assign_fate(pid(2), 'DELIBERATING', 'REFERRED') $$);
UPDATE petition_submissions SET text = 'other' WHERE id = pid(2);
INSERT INTO petition_submissions (id, text, state) VALUES (pid(3), 'text', 'DELIBERATING');
SELECT told($$ SELECT assign_fate(pid(3), 'DELIBERATING', 'REFERRED') $$);
ROLLBACK;
BEGIN;
INSERT INTO petition_submissions (id, text, state) VALUES (pid(3), 'text', 'DELIBERATING');
ALTER TYPE petition_submission DROP ATTRIBUTE updated_at;
SELECT told($$ SELECT assign_fate(pid(3), 'DELIBERATING', 'REFERRED') $$);
ROLLBACK;
DROP SCHEMA swap_tampered CASCADE;
