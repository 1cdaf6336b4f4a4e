-- What the swaps make of rows that only tampering leaves: a null state.
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
DROP SCHEMA swap_tampered CASCADE;
