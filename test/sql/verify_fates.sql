-- verify_fates: each problem, in its words, and none where all is well.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_verify_fates;
SET search_path = test_verify_fates, public;

CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT govern('cases', '{"open": ["closed", "void"]}');
INSERT INTO cases SELECT n, CASE WHEN n < 4 THEN 'closed' ELSE 'open' END FROM generate_series(1, 9) n;
SELECT * FROM verify_fates('cases');

-- Rows that arrived behind the guard's back, and ledger rows without them.
SET session_replication_role = replica;
INSERT INTO cases VALUES (20, 'closed'), (21, 'unheard of'), (22, NULL), (23, 'closed'), (24, 'void'), (25, 'open');
RESET session_replication_role;
INSERT INTO cases_fates VALUES (23, NULL, 'void', now(), 'x', '1'), (24, NULL, 'void', now(), 'x', '1'),
    (25, NULL, 'closed', now(), 'x', '1'), (30, NULL, 'closed', now(), 'x', '1'), (31, NULL, 'unheard of', now(), 'x', '1');
SELECT * FROM verify_fates('cases') ORDER BY key;
SELECT backfill_fates('cases');
SELECT * FROM verify_fates('cases') ORDER BY key;

-- A ledger with a fate for a state that is null or unknown.
INSERT INTO cases_fates VALUES (21, NULL, 'closed', now(), 'x', '1'), (22, NULL, 'closed', now(), 'x', '1');
SELECT * FROM verify_fates('cases') WHERE key IN ('21', '22') ORDER BY key;

-- Triggers. (The guard against DDL would not let it come to that.)
SET petition_cas.allow_unguard = on;
CREATE TABLE t (id int PRIMARY KEY, state text);
SELECT govern('t', '{"open": ["closed"]}');
CREATE FUNCTION after(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN QUERY SELECT problem FROM verify_fates('t') ORDER BY problem COLLATE "C";
    RAISE SQLSTATE '99999';
EXCEPTION WHEN SQLSTATE '99999' THEN
    RETURN;
END $$;
SELECT after('SELECT');
SELECT after('ALTER TABLE t DISABLE TRIGGER petition_cas_guard');
SELECT after('ALTER TABLE t DISABLE TRIGGER ALL');
SELECT after('ALTER TABLE t ENABLE TRIGGER ALL');
SELECT after('ALTER TABLE t ENABLE REPLICA TRIGGER petition_cas_guard');
SELECT after('DROP TRIGGER petition_cas_guard ON t');
SELECT after('DROP TRIGGER petition_cas_truncate ON t');
SELECT after('ALTER TRIGGER petition_cas_guard ON t RENAME TO mine');
SELECT after($$ CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["closed"]}') $$);
SELECT after($$ CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["closed"]}');
    ALTER TABLE t ENABLE ALWAYS TRIGGER petition_cas_guard $$);
SELECT after($$ CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW WHEN (true) EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["closed"]}');
    ALTER TABLE t ENABLE ALWAYS TRIGGER petition_cas_guard $$);
SELECT after($$ CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OF state OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["closed"]}');
    ALTER TABLE t ENABLE ALWAYS TRIGGER petition_cas_guard $$);
SELECT after($$ DROP TRIGGER petition_cas_guard ON t;
    CREATE CONSTRAINT TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["closed"]}');
    ALTER TABLE t ENABLE ALWAYS TRIGGER petition_cas_guard $$);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
SELECT after($$ CREATE OR REPLACE TRIGGER petition_cas_truncate AFTER TRUNCATE ON t EXECUTE FUNCTION nothing();
    ALTER TABLE t ENABLE ALWAYS TRIGGER petition_cas_truncate $$);
SELECT after($$ CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION nothing();
    ALTER TABLE t ENABLE ALWAYS TRIGGER petition_cas_guard $$);

-- The ledger.
SELECT after('ALTER TABLE t_fates DISABLE TRIGGER petition_cas_ledger');
SELECT after('ALTER TABLE t_fates ENABLE TRIGGER ALL');
SELECT after('DROP TRIGGER petition_cas_ledger ON t_fates; DROP TRIGGER petition_cas_ledger_truncate ON t_fates');
SELECT after('ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey');
SELECT after('ALTER TABLE t_fates RENAME TO u_fates');
SELECT after('DROP TABLE t_fates');
CREATE ROLE regress_other;
GRANT ALL ON SCHEMA test_verify_fates TO regress_other;
SELECT after('ALTER TABLE t_fates OWNER TO regress_other');
DROP OWNED BY regress_other;
DROP ROLE regress_other;

-- A downgraded trigger of one partition.
CREATE TABLE parted (id int PRIMARY KEY, state text) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF parted DEFAULT;
SELECT govern('parted', '{"open": ["closed"]}');
SELECT verify_fates('parted');
ALTER TABLE part_2 DISABLE TRIGGER petition_cas_guard;
SELECT problem FROM verify_fates('parted');
ALTER TABLE part_2 ENABLE ALWAYS TRIGGER petition_cas_guard;
SELECT verify_fates('parted');
-- A row of one; and a partition by itself.
SET session_replication_role = replica;
INSERT INTO parted VALUES (1, 'closed');
RESET session_replication_role;
SELECT * FROM verify_fates('parted');
SELECT told($$ SELECT verify_fates('part_1') $$);

-- Not governed at all; half taken down.
CREATE TABLE plain (id int PRIMARY KEY, state text);
SELECT told($$ SELECT verify_fates('plain') $$);
CREATE TABLE plain_fates (note text);
SELECT told($$ SELECT verify_fates('plain') $$);
SELECT told($$ SELECT verify_fates('cases_fates') $$);
-- All triggers are gone, as after DROP EXTENSION CASCADE.
SELECT after('DROP TRIGGER petition_cas_guard ON t; DROP TRIGGER petition_cas_truncate ON t;
    DROP TRIGGER petition_cas_ledger ON t_fates; DROP TRIGGER petition_cas_ledger_truncate ON t_fates');
SELECT ungovern('t');
SELECT told($$ SELECT verify_fates('t') $$);
