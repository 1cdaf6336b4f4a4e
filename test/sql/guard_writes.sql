-- Every way to write goes through the guard.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_guard_writes;
SET search_path = test_guard_writes, public;

CREATE TABLE cases (id int PRIMARY KEY, state text DEFAULT 'open', note text);
SELECT govern('cases', '{"open": ["closed", "void"]}');
INSERT INTO cases SELECT n FROM generate_series(1, 20) n;
UPDATE cases SET state = 'closed' WHERE id = 1;

-- Upsert.
SELECT told($$ INSERT INTO cases VALUES (1, 'void') ON CONFLICT (id) DO UPDATE SET state = excluded.state $$);
SELECT told($$ INSERT INTO cases VALUES (1, 'void') ON CONFLICT DO NOTHING $$);
SELECT told($$ INSERT INTO cases VALUES (1, 'closed', 'same') ON CONFLICT (id) DO UPDATE SET state = excluded.state, note = excluded.note $$);
SELECT told($$ INSERT INTO cases VALUES (2, 'void') ON CONFLICT (id) DO UPDATE SET state = excluded.state $$);
SELECT told($$ INSERT INTO cases VALUES (21, 'void') ON CONFLICT (id) DO UPDATE SET state = excluded.state $$);
SELECT id, from_state, fate FROM cases_fates ORDER BY 1;

-- MERGE.
SELECT told($$ MERGE INTO cases c USING (VALUES (1), (3)) v (id) ON c.id = v.id WHEN MATCHED THEN UPDATE SET state = 'void' $$);
SELECT told($$ MERGE INTO cases c USING (VALUES (1), (3)) v (id) ON c.id = v.id WHEN MATCHED AND c.state = 'closed' THEN DELETE $$);
SELECT told($$ MERGE INTO cases c USING (VALUES (3), (22)) v (id) ON c.id = v.id
    WHEN MATCHED THEN UPDATE SET state = 'void' WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'closed') $$);
SELECT told($$ MERGE INTO cases c USING (VALUES (23)) v (id) ON c.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'lost') $$);
SELECT id, from_state, fate FROM cases_fates WHERE id IN (3, 22, 23) ORDER BY 1;

-- Writable CTEs.
WITH gone AS (DELETE FROM cases WHERE id = 4 RETURNING id) SELECT told('SELECT 1') FROM gone;
SELECT told($$ WITH c AS (UPDATE cases SET state = 'void' WHERE id = 1 RETURNING id) UPDATE cases SET note = 'x' WHERE id = 5 $$);
SELECT told($$ WITH c AS (DELETE FROM cases WHERE id = 1 RETURNING id) INSERT INTO cases SELECT id, 'void' FROM c $$);
SELECT told($$ WITH c AS (DELETE FROM cases WHERE id = 6 RETURNING id) INSERT INTO cases SELECT id + 100, 'void' FROM c $$);
SELECT told($$ WITH a AS (UPDATE cases SET state = 'closed' WHERE id = 7 RETURNING id), b AS (UPDATE cases SET state = 'void' WHERE id = 7 RETURNING id) UPDATE cases SET note = (SELECT count(*) FROM a) || ' ' || (SELECT count(*) FROM b) WHERE id = 8 $$);
SELECT note FROM cases WHERE id = 8;
SELECT count(*) FROM cases_fates WHERE id = 7;

-- COPY.
COPY cases (id, state) FROM stdin;
30	open
31	closed
\.
COPY cases (id, state) FROM stdin;
32	open
33	unknown
\.
COPY cases (id, state) FROM stdin;
1	void
\.
COPY cases (id, state) FROM stdin WITH (NULL '-');
34	-
\.
SELECT id, from_state, fate FROM cases_fates WHERE id >= 30 AND id < 100 ORDER BY 1;

-- UPDATE ... FROM, through a view, a cursor, a rule, a function, a foreign key.
UPDATE cases SET state = v.s FROM (VALUES (9, 'closed'), (10, 'void')) v (i, s) WHERE id = v.i;
CREATE VIEW open_cases AS SELECT * FROM cases WHERE state = 'open' WITH CHECK OPTION;
SELECT told($$ UPDATE open_cases SET state = 'void' WHERE id = 11 $$);
CREATE VIEW all_cases AS SELECT id AS number, state AS stage FROM cases;
SELECT told($$ UPDATE all_cases SET stage = 'void' WHERE number = 9 $$);
SELECT told($$ UPDATE all_cases SET number = 900 WHERE number = 12 $$);
UPDATE all_cases SET stage = 'void' WHERE number = 11;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM cases WHERE id = 9 FOR UPDATE;
FETCH c;
UPDATE cases SET state = 'open' WHERE CURRENT OF c;
\echo :SQLSTATE
ROLLBACK;
CREATE TABLE parents (id int PRIMARY KEY);
INSERT INTO parents VALUES (9), (12), (13);
ALTER TABLE cases ADD parent int REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE;
UPDATE cases SET parent = id WHERE id IN (9, 12);
SELECT told($$ DELETE FROM parents WHERE id = 9 $$);
SELECT told($$ DELETE FROM parents WHERE id = 12 $$);
SELECT count(*) FROM cases WHERE id IN (9, 12);

-- A row that inherits from the table is none of it.
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
CREATE TABLE child () INHERITS (cases);
INSERT INTO child VALUES (1, 'whatever');
SELECT told($$ SELECT compare_and_swap(NULL::cases, '13', 'open', 'void') $$);
SELECT told($$ SELECT verify_fates('cases') $$);
ROLLBACK;

-- Under session_replication_role = replica inserts are not judged and nothing
-- is recorded: the ledger's own rows arrive as well. Updates and deletes are.
SET session_replication_role = replica;
INSERT INTO cases (id, state) VALUES (40, 'closed'), (41, 'unknown'), (42, 'open'), (43, 'open');
UPDATE cases SET state = 'closed' WHERE id = 42;
SELECT count(*) FROM cases_fates WHERE id BETWEEN 40 AND 49;
SELECT told($$ UPDATE cases SET state = 'open' WHERE id = 40 $$);
SELECT told($$ UPDATE cases SET state = 'unknown' WHERE id = 43 $$);
SELECT told($$ UPDATE cases SET id = 49 WHERE id = 43 $$);
SELECT told($$ DELETE FROM cases WHERE id = 42 $$);
SELECT told($$ TRUNCATE cases $$);
INSERT INTO cases_fates VALUES (40, NULL, 'closed', now(), 'elsewhere', '1');
SELECT told($$ UPDATE cases_fates SET fate = 'void' $$);
SELECT told($$ DELETE FROM cases_fates $$);
SELECT told($$ TRUNCATE cases_fates $$);
RESET session_replication_role;
SELECT * FROM verify_fates('cases') ORDER BY key;
SELECT backfill_fates('cases');
SELECT told($$ UPDATE cases SET state = 'open' WHERE id = 41 $$);
DELETE FROM cases WHERE id = 41;
SELECT * FROM verify_fates('cases') ORDER BY key;
