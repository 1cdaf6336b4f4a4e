-- A partitioned table is governed as a whole, with one ledger.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_govern_partitioned;
SET search_path = test_govern_partitioned, public;

CREATE SCHEMA test_govern_elsewhere;
CREATE TABLE cases (id int PRIMARY KEY, state text NOT NULL DEFAULT 'open', note text) PARTITION BY RANGE (id);
CREATE TABLE cases_1 PARTITION OF cases FOR VALUES FROM (1) TO (100);
CREATE TABLE test_govern_elsewhere.cases_2 PARTITION OF cases FOR VALUES FROM (100) TO (200) PARTITION BY LIST (id);
CREATE TABLE test_govern_elsewhere.cases_2a PARTITION OF test_govern_elsewhere.cases_2 DEFAULT;
-- A partition with its columns in another order.
CREATE TABLE cases_3 (note text, gone int, state text NOT NULL, id int NOT NULL);
ALTER TABLE cases_3 DROP gone;
ALTER TABLE cases ATTACH PARTITION cases_3 FOR VALUES FROM (200) TO (300);
INSERT INTO cases VALUES (1), (2), (101), (102), (201), (202);
INSERT INTO cases VALUES (3, 'closed'), (103, 'void'), (203, 'closed');

SELECT govern('cases', '{"open": ["closed", "void"]}');
SELECT id, fate FROM cases_fates ORDER BY 1;
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger
WHERE tgname LIKE 'petition_cas%' AND tgrelid IN (SELECT relid FROM pg_partition_tree('cases')) ORDER BY tgrelid::regclass::text COLLATE "C", 2;

SELECT compare_and_swap(NULL::cases, '1', 'open', 'closed');
SELECT compare_and_swap(NULL::cases, '101', 'open', 'closed');
SELECT compare_and_swap(NULL::cases, '201', 'open', 'closed');
SELECT told($$ SELECT compare_and_swap(NULL::cases, '101', 'open', 'void') $$);
SELECT told($$ SELECT compare_and_swap(NULL::cases, '203', 'open', 'void') $$);
SELECT told($$ SELECT compare_and_swap(NULL::cases, '300', 'open', 'void') $$);
UPDATE cases SET state = 'void' WHERE id IN (2, 102, 202);
SELECT id, from_state, fate FROM cases_fates ORDER BY 1;
SELECT verify_fates('cases');

-- Through a partition, too.
INSERT INTO cases_1 VALUES (4), (5);
SELECT compare_and_swap(NULL::cases_1, '4', 'open', 'closed');
SELECT told($$ SELECT compare_and_swap(NULL::cases_1, '4', 'open', 'void') $$);
SELECT told($$ UPDATE test_govern_elsewhere.cases_2a SET state = 'open' WHERE id = 102 $$);
SELECT told($$ DELETE FROM cases_3 WHERE id = 202 $$);
SELECT told($$ SELECT compare_and_swap(NULL::test_govern_elsewhere.cases_2a, '101', 'open', 'void') $$);
SELECT lifecycle('cases_1');
SELECT told($$ SELECT extend_lifecycle('cases_1', '{"open": ["lost"]}') $$);
SELECT told($$ SELECT ungovern('cases_1') $$);
SELECT told($$ SELECT backfill_fates('cases_1') $$);

-- A move to another partition is judged as the DELETE and the INSERT that it is.
SELECT told($$ UPDATE cases SET id = 150 WHERE id = 5 $$);
SELECT told($$ UPDATE cases SET id = 151 WHERE id = 150 $$);
SELECT told($$ UPDATE cases SET id = 152 WHERE id = 4 $$);

-- A new partition is governed like the others.
CREATE TABLE cases_4 PARTITION OF cases FOR VALUES FROM (300) TO (400);
INSERT INTO cases VALUES (300), (301);
UPDATE cases SET state = 'void' WHERE id = 300;
SELECT told($$ UPDATE cases SET state = 'open' WHERE id = 300 $$);
SELECT extend_lifecycle('cases', '{"open": ["lost"]}');
SELECT compare_and_swap(NULL::cases, '301', 'open', 'lost');
SELECT told($$ INSERT INTO cases VALUES (302, 'unheard of') $$);

-- Truncating the whole is refused. A partition may go, its fates stay.
SELECT told($$ TRUNCATE cases $$);
TRUNCATE cases_4;
INSERT INTO cases VALUES (300, 'open');
SELECT told($$ UPDATE cases SET state = 'closed' WHERE id = 300 $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::cases, '300', 'open', 'closed') $$);
SELECT told($$ INSERT INTO cases VALUES (301, 'void') $$);
SELECT told($$ INSERT INTO cases VALUES (301, 'lost') $$);
DROP TABLE cases_4;
ALTER TABLE cases DETACH PARTITION cases_1;
SELECT told($$ SELECT lifecycle('cases_1') $$);
SELECT verify_fates('cases');
SELECT count(*) FROM cases_fates;
SELECT ungovern('cases');
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'petition_cas%'
AND tgrelid IN (SELECT relid FROM pg_partition_tree('cases'));

-- The key has to be that of the whole.
CREATE TABLE by_day (id int, day date, state text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE by_day_1 PARTITION OF by_day DEFAULT;
CREATE UNIQUE INDEX ON by_day_1 (id);
SELECT told($$ SELECT govern('by_day', '{"open": ["closed"]}', 'id') $$);

-- A role with rights on the whole alone is told what it could select there; one
-- that may not select, or from whom row security hides rows, is not.
CREATE TABLE told_whole (id int PRIMARY KEY, state text) PARTITION BY LIST (id);
CREATE TABLE told_part PARTITION OF told_whole DEFAULT;
SELECT govern('told_whole', '{"open": ["won", "lost"]}');
INSERT INTO told_whole VALUES (1, 'won'), (2, 'open');
CREATE ROLE regress_reader;
GRANT USAGE ON SCHEMA test_govern_partitioned TO regress_reader;
GRANT UPDATE, SELECT ON told_whole TO regress_reader;
SET ROLE regress_reader;
SELECT told($$UPDATE told_whole SET state = 'lost' WHERE id = 1$$);
SELECT told($$UPDATE told_whole SET state = 'void' WHERE id = 2$$);
SELECT told($$UPDATE told_whole SET id = 3 WHERE id = 2$$);
RESET ROLE;
REVOKE SELECT ON told_whole FROM regress_reader;
GRANT SELECT (id) ON told_whole TO regress_reader;
SET ROLE regress_reader;
SELECT told($$UPDATE told_whole SET state = 'lost' WHERE id = 1$$);
RESET ROLE;
GRANT SELECT (state) ON told_whole TO regress_reader;
SET ROLE regress_reader;
SELECT told($$UPDATE told_whole SET state = 'lost' WHERE id = 1$$);
RESET ROLE;
ALTER TABLE told_whole ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON told_whole USING (true);
SET ROLE regress_reader;
SELECT told($$UPDATE told_whole SET state = 'lost' WHERE id = 1$$);
RESET ROLE;
DROP TABLE told_whole, told_whole_fates;
REVOKE ALL ON SCHEMA test_govern_partitioned FROM regress_reader;
DROP ROLE regress_reader;
