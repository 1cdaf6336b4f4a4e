-- govern looks at the rows that are there: fates that they have are recorded,
-- states that the lifecycle does not know are refused.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_govern_rows;
SET search_path = test_govern_rows, public;

CREATE TABLE t (id int PRIMARY KEY, state text);
INSERT INTO t SELECT n, CASE WHEN n % 3 = 0 THEN 'closed' ELSE 'open' END FROM generate_series(1, 9) n;
SELECT govern('t', '{"open": ["closed", "void"]}');
SELECT id, from_state, fate, assigned_by, assigned_at BETWEEN now() - interval '1 minute' AND clock_timestamp()
FROM t_fates ORDER BY 1;
SELECT verify_fates('t');
SELECT told($$ UPDATE t SET state = 'void' WHERE id = 3 $$);
SELECT told($$ DELETE FROM t WHERE id = 6 $$);

-- Some of the rows that are in other states are named.
CREATE TABLE bad (id int PRIMARY KEY, state text);
INSERT INTO bad SELECT n, CASE n % 4 WHEN 0 THEN 'open' WHEN 1 THEN 'Open' WHEN 2 THEN '' END FROM generate_series(1, 20) n;
SELECT count(*) FROM told($$ SELECT govern('bad', '{"open": ["closed"]}') $$) t,
    regexp_matches(t, 'Row "\d+": the row''s state [^.]* in the lifecycle\.|Row "\d+": the row''s state is null\.', 'g');
SELECT to_regclass('bad_fates') IS NULL;
DELETE FROM bad WHERE id <> 1;
SELECT told($$ SELECT govern('bad', '{"open": ["closed"]}') $$);
UPDATE bad SET state = NULL;
SELECT told($$ SELECT govern('bad', '{"open": ["closed"]}') $$);
UPDATE bad SET state = 'open';
SELECT told($$ SELECT govern('bad', '{"open": ["closed"]}') $$);

-- The same with an enum.
CREATE TYPE stage AS ENUM ('open', 'closed', 'void', 'other');
CREATE TABLE staged (id int PRIMARY KEY, state stage);
INSERT INTO staged VALUES (1, 'open'), (2, 'closed'), (3, 'other'), (4, 'void');
SELECT told($$ SELECT govern('staged', '{"open": ["void", "closed"]}') $$);
DELETE FROM staged WHERE id = 3;
SELECT govern('staged', '{"open": ["void", "closed"]}');
SELECT id, fate FROM staged_fates ORDER BY 1;
SELECT verify_fates('staged');

-- A row that went through a rolled back govern is governed by nothing.
CREATE TABLE undone (id int PRIMARY KEY, state text);
INSERT INTO undone VALUES (1, 'closed');
BEGIN;
SELECT govern('undone', '{"open": ["closed"]}');
SELECT told($$ UPDATE undone SET state = 'open' $$);
ROLLBACK;
UPDATE undone SET state = 'open';
SELECT to_regclass('undone_fates') IS NULL;

-- Triggers and policies of the table do not hide rows from govern.
CREATE ROLE regress_owner;
GRANT ALL ON SCHEMA test_govern_rows TO regress_owner;
CREATE TABLE hidden (id int PRIMARY KEY, state text);
INSERT INTO hidden VALUES (1, 'closed'), (2, 'lost');
ALTER TABLE hidden OWNER TO regress_owner;
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SET ROLE regress_owner;
SELECT count(*) FROM hidden;
SELECT told($$ SELECT govern('hidden', '{"open": ["closed"]}') $$);
RESET ROLE;
DELETE FROM hidden WHERE id = 2;
SET ROLE regress_owner;
SELECT govern('hidden', '{"open": ["closed"]}');
SELECT id, fate FROM hidden_fates;
SELECT verify_fates('hidden');
RESET ROLE;
DROP OWNED BY regress_owner;
DROP ROLE regress_owner;
