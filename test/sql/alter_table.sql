-- ALTER TABLE of every kind between two calls in one session: never a wrong
-- result, never an internal error.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_alter_table;
SET search_path = test_alter_table, public;

SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM generate_series(1, 99) n;
CREATE TABLE cases (id int PRIMARY KEY, state text DEFAULT 'open', a int, b int);
SELECT govern('cases', '{"open": ["closed"]}');
INSERT INTO cases (id) SELECT n FROM generate_series(1, 99) n;
CREATE SEQUENCE next;

-- Each form works on a petition or a case of its own; what they say is counted.
CREATE FUNCTION all_forms() RETURNS TABLE (told text, times bigint) LANGUAGE plpgsql AS $$
DECLARE n int := nextval('next') * 10;
BEGIN
    RETURN QUERY SELECT t, count(*) FROM (
        SELECT told(format($c$SELECT (assign_fate(%L, 'DELIBERATING', 'REFERRED')).state$c$, pid(n))) UNION ALL
        SELECT told(format($c$SELECT (assign_fate(%L, 'DELIBERATING', 'REFERRED', 'r')).state$c$, pid(n + 1))) UNION ALL
        SELECT told(format($c$SELECT current_state FROM try_assign_fate(%L, 'DELIBERATING', 'REFERRED')$c$, pid(n + 2))) UNION ALL
        SELECT told(format($c$SELECT current_state FROM assign_fates(ARRAY[%L, %L]::uuid[], 'DELIBERATING', 'REFERRED')$c$, pid(n + 3), pid(n + 4))) UNION ALL
        SELECT told(format($c$SELECT (compare_and_swap(NULL::cases, '%s', 'open', 'closed')).state$c$, n)) UNION ALL
        SELECT told(format($c$SELECT current_state FROM try_compare_and_swap(NULL::cases, '%s', 'open', 'closed')$c$, n + 1))
    ) x (t) GROUP BY t ORDER BY t COLLATE "C";
END $$;
SELECT * FROM all_forms();

-- Columns come, go and change places.
ALTER TABLE petition_submissions ADD extra int DEFAULT 5;
ALTER TABLE cases ADD extra int DEFAULT 5;
SELECT * FROM all_forms();
ALTER TABLE petition_submissions DROP extra;
ALTER TABLE cases DROP a;
SELECT * FROM all_forms();
SELECT compare_and_swap(NULL::cases, '98', 'open', 'closed');
ALTER TABLE cases RENAME b TO c;
SELECT compare_and_swap(NULL::cases, '97', 'open', 'closed');
ALTER TABLE cases ALTER c TYPE text, ADD d date DEFAULT '2026-01-19';
SELECT * FROM compare_and_swap(NULL::cases, '96', 'open', 'closed');
ALTER TABLE cases ALTER extra SET NOT NULL, ADD CHECK (id > 0), ALTER state SET STATISTICS 10;
CREATE INDEX ON cases (state);
CREATE TRIGGER t BEFORE UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT * FROM compare_and_swap(NULL::cases, '95', 'open', 'closed');
VACUUM FULL cases;
CLUSTER cases USING cases_pkey;
ALTER TABLE cases SET UNLOGGED;
ALTER TABLE cases SET LOGGED;
REINDEX TABLE cases;
SELECT * FROM compare_and_swap(NULL::cases, '94', 'open', 'closed');
SELECT verify_fates('cases'), verify_fates('petition_submissions');

-- The petition's columns are renamed: what needs them says so.
ALTER TABLE petition_submissions RENAME realm TO region;
SELECT * FROM all_forms();
ALTER TABLE petition_submissions RENAME region TO realm;
ALTER TABLE petition_submissions RENAME fate_reason TO why;
SELECT * FROM all_forms();
ALTER TABLE petition_submissions RENAME why TO fate_reason;
ALTER TABLE petition_submissions ALTER realm TYPE name;
SELECT told($$ SELECT (assign_fate(pid(90), 'DELIBERATING', 'REFERRED')).realm $$);
SELECT told($$ SELECT try_assign_fate(pid(90), 'DELIBERATING', 'REFERRED') $$);
SELECT state FROM petition_submissions WHERE id = pid(90);
ALTER TABLE petition_submissions ALTER realm TYPE varchar(20), ALTER text TYPE text;
SELECT told($$ SELECT (assign_fate(pid(89), 'DELIBERATING', 'REFERRED')).realm $$);
ALTER TABLE petition_submissions ALTER realm TYPE text;

-- What follows is refused by the guard against DDL. A superuser may turn that
-- off, and then has to be told what to do.
SET petition_cas.allow_unguard = on;

-- Key and state column: the error says what to do.
BEGIN;
SET LOCAL search_path = test_alter_table, public;
ALTER TABLE cases RENAME state TO stage;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '1', 'open', 'closed') $$);
SELECT told($$ UPDATE cases SET stage = 'closed' WHERE id = 1 $$);
SELECT told($$ SELECT lifecycle('cases') $$);
SELECT told($$ SELECT extend_lifecycle('cases', '{"open": ["void"]}') $$);
SELECT told($$ SELECT verify_fates('cases') $$);
ROLLBACK;
BEGIN;
ALTER TABLE cases RENAME id TO number;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '1', 'open', 'closed') $$);
SELECT told($$ INSERT INTO cases (number) VALUES (100) $$);
ROLLBACK;
BEGIN;
ALTER TABLE cases DROP state;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '1', 'open', 'closed') $$);
SELECT told($$ DELETE FROM cases WHERE id = 1 $$);
ROLLBACK;
BEGIN;
ALTER TABLE cases RENAME state TO stage;
ALTER TABLE cases ADD state text;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '1', 'open', 'closed') $$);
ROLLBACK;
BEGIN;
ALTER TABLE cases ALTER state DROP DEFAULT, ALTER state TYPE int USING 1;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '1', 'open', 'closed') $$);
ROLLBACK;
SELECT (compare_and_swap(NULL::cases, '1', 'open', 'closed')).state;

-- Types that go on working, once the ledger has them too.
ALTER TABLE cases ALTER id TYPE bigint;
SELECT told($$ SELECT (compare_and_swap(NULL::cases, '2', 'open', 'closed')).state $$);
ALTER TABLE cases_fates ALTER id TYPE bigint;
SELECT told($$ SELECT (compare_and_swap(NULL::cases, '2', 'open', 'closed')).state $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::cases, '2', 'open', 'closed') $$);
SELECT told($$ INSERT INTO cases (id) VALUES (5000000000) $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::cases, '5000000000', 'open', 'closed') $$);
CREATE TYPE stage AS ENUM ('open', 'closed');
ALTER TABLE cases ALTER state DROP DEFAULT, ALTER state TYPE stage USING state::stage;
SELECT (compare_and_swap(NULL::cases, '3', 'open', 'closed')).state;
SELECT verify_fates('cases');
ALTER TYPE stage RENAME VALUE 'open' TO 'opened';
SELECT told($$ SELECT compare_and_swap(NULL::cases, '4', 'open', 'closed') $$);
SELECT told($$ UPDATE cases SET state = 'closed' WHERE id = 4 $$);
ALTER TYPE stage RENAME VALUE 'opened' TO 'open';
SELECT told($$ UPDATE cases SET state = 'closed' WHERE id = 4 $$);
ALTER TABLE cases ALTER state TYPE varchar(10);
SELECT (compare_and_swap(NULL::cases, '5', 'open', 'closed')).state;

-- The table or the ledger is renamed or moved.
ALTER TABLE cases RENAME TO matters;
SELECT (compare_and_swap(NULL::matters, '6', 'open', 'closed')).state;
SELECT told($$ SELECT compare_and_swap(NULL::matters, '6', 'open', 'closed') $$);
ALTER TABLE matters RENAME TO cases;
ALTER TABLE cases_fates RENAME TO matters_fates;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '7', 'open', 'closed') $$);
SELECT told($$ SELECT compare_and_swap(NULL::cases, '6', 'open', 'closed') $$);
SELECT told($$ UPDATE cases SET state = 'closed' WHERE id = 7 $$);
SET petition_cas.allow_unguard = off;
SELECT told($$ TRUNCATE cases $$);
SET petition_cas.allow_unguard = on;
SELECT verify_fates('cases');
ALTER TABLE matters_fates RENAME TO cases_fates;
SELECT (compare_and_swap(NULL::cases, '7', 'open', 'closed')).state;
CREATE SCHEMA test_alter_table_other;
ALTER TABLE cases SET SCHEMA test_alter_table_other;
SELECT told($$ SELECT compare_and_swap(NULL::test_alter_table_other.cases, '8', 'open', 'closed') $$);
ALTER TABLE cases_fates SET SCHEMA test_alter_table_other;
SELECT told($$ SELECT (compare_and_swap(NULL::test_alter_table_other.cases, '8', 'open', 'closed')).state $$);
ALTER TABLE test_alter_table_other.cases SET SCHEMA test_alter_table;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '9', 'open', 'closed') $$);
ALTER TABLE test_alter_table_other.cases_fates SET SCHEMA test_alter_table;
SELECT (compare_and_swap(NULL::cases, '9', 'open', 'closed')).state;

-- The ledger is changed, dropped, made anew.
ALTER TABLE cases_fates ADD remark text DEFAULT 'none';
SELECT (compare_and_swap(NULL::cases, '12', 'open', 'closed')).state;
ALTER TABLE cases_fates DROP remark;
SELECT (compare_and_swap(NULL::cases, '13', 'open', 'closed')).state;
BEGIN;
ALTER TABLE cases_fates RENAME fate TO outcome;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '14', 'open', 'closed') $$);
ROLLBACK;
SELECT (compare_and_swap(NULL::cases, '14', 'open', 'closed')).state;
DROP TABLE cases_fates;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '15', 'open', 'closed') $$);
SELECT told($$ SELECT compare_and_swap(NULL::cases, '14', 'open', 'closed') $$);
SELECT told($$ SELECT backfill_fates('cases') $$);
SELECT verify_fates('cases');
CREATE TABLE cases_fates (unrelated int);
SELECT told($$ SELECT compare_and_swap(NULL::cases, '15', 'open', 'closed') $$);
DROP TABLE cases_fates;
CREATE VIEW cases_fates AS SELECT 1 AS id;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '15', 'open', 'closed') $$);
DROP VIEW cases_fates;
SELECT ungovern('cases');
SELECT govern('cases', '{"open": ["closed", "void"]}');
SELECT (compare_and_swap(NULL::cases, '15', 'open', 'void')).state;
SELECT verify_fates('cases');

-- The lifecycle is changed: by extending, and by governing anew.
SELECT told($$ SELECT compare_and_swap(NULL::cases, '16', 'open', 'lost') $$);
SELECT extend_lifecycle('cases', '{"open": ["lost"]}');
SELECT (compare_and_swap(NULL::cases, '16', 'open', 'lost')).state;
SELECT ungovern('cases');
SELECT told($$ SELECT compare_and_swap(NULL::cases, '17', 'open', 'lost') $$);
UPDATE cases SET state = 'whatever' WHERE id = 17;
SELECT govern('cases', '{"open": ["closed", "void", "lost"], "whatever": ["void"]}');
SELECT told($$ SELECT compare_and_swap(NULL::cases, '17', 'open', 'lost') $$);
SELECT told($$ SELECT (compare_and_swap(NULL::cases, '17', 'whatever', 'void')).state $$);

-- The table is dropped and made anew, in one transaction and outside.
BEGIN;
DROP TABLE cases, cases_fates;
CREATE TABLE cases (state text, id text PRIMARY KEY);
SELECT told($$ SELECT compare_and_swap(NULL::cases, '17', 'open', 'lost') $$);
SELECT govern('cases', '{"open": ["shut"]}');
INSERT INTO cases VALUES ('open', 'x');
SELECT compare_and_swap(NULL::cases, 'x', 'open', 'shut');
ROLLBACK;
SELECT told($$ SELECT (compare_and_swap(NULL::cases, '18', 'open', 'void')).state $$);
DROP TABLE cases, cases_fates;
SELECT told($$ SELECT compare_and_swap(NULL::cases, '19', 'open', 'void') $$);

-- It happens inside the call: a trigger of the table alters it, or goes deep.
CREATE TABLE deep (id int PRIMARY KEY, state text);
SELECT govern('deep', '{"open": ["closed"]}');
INSERT INTO deep SELECT n, 'open' FROM generate_series(1, 9) n;
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE TG_ARGV[0];
    RETURN NEW;
END $$;
CREATE TRIGGER a_meddle BEFORE UPDATE ON deep FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION meddle('SELECT extend_lifecycle(''deep'', ''{"open": ["void"]}'')');
SELECT told($$ SELECT compare_and_swap(NULL::deep, '1', 'open', 'closed') $$);
DROP TRIGGER a_meddle ON deep;
CREATE TRIGGER a_meddle BEFORE UPDATE ON deep FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION meddle('ALTER TABLE deep_fates ADD meddled int');
SELECT told($$ SELECT compare_and_swap(NULL::deep, '2', 'open', 'closed') $$);
SELECT told($$ SELECT compare_and_swap(NULL::deep, '3', 'open', 'closed') $$);
DROP TRIGGER a_meddle ON deep;
CREATE TRIGGER a_meddle BEFORE UPDATE ON deep FOR EACH ROW WHEN (NEW.id = 4) EXECUTE FUNCTION meddle('SELECT compare_and_swap(NULL::deep, ''5'', ''open'', ''closed'')');
SELECT told($$ SELECT compare_and_swap(NULL::deep, '4', 'open', 'closed') $$);
DROP TRIGGER a_meddle ON deep;
CREATE TRIGGER a_meddle BEFORE UPDATE ON deep FOR EACH ROW WHEN (NEW.id = 6 AND pg_trigger_depth() = 0) EXECUTE FUNCTION meddle('UPDATE deep SET state = ''closed'' WHERE id = 6');
SELECT told($$ SELECT compare_and_swap(NULL::deep, '6', 'open', 'closed') $$);
DROP TRIGGER a_meddle ON deep;
CREATE TRIGGER a_meddle AFTER INSERT ON deep_fates FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION meddle('ALTER TABLE deep_fates RENAME TO gone');
SELECT told($$ SELECT compare_and_swap(NULL::deep, '7', 'open', 'closed') $$);
SELECT id, state FROM deep ORDER BY 1;
SELECT id, fate FROM gone ORDER BY 1;
SELECT verify_fates('deep');
