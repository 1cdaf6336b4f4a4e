-- What DDL is refused on a governed table and its ledger, and what is not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ddl_guard;
CREATE SCHEMA ddl_guard_2;
SET search_path = ddl_guard, public;

CREATE TABLE t (id int PRIMARY KEY, state text, note text);
SELECT govern('t', '{"open": ["won", "lost"]}');
INSERT INTO t VALUES (1, 'won'), (2, 'open');

-- Runs a command that is to be refused, and then undone; tells the first line.
CREATE FUNCTION refused(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT told FROM told(command) LIMIT 1;
    RAISE 'undo' USING ERRCODE = 'YY000';
EXCEPTION WHEN SQLSTATE 'YY000' THEN
END $$;

-- the triggers
SELECT c, refused(c) FROM unnest(ARRAY[
    'ALTER TABLE t DISABLE TRIGGER petition_cas_guard',
    'ALTER TABLE t DISABLE TRIGGER petition_cas_truncate',
    'ALTER TABLE t DISABLE TRIGGER ALL',
    'ALTER TABLE t DISABLE TRIGGER USER',
    'ALTER TABLE t ENABLE TRIGGER petition_cas_guard',
    'ALTER TABLE t ENABLE REPLICA TRIGGER petition_cas_guard',
    'ALTER TABLE t ENABLE TRIGGER ALL',
    'ALTER TABLE t ENABLE TRIGGER USER',
    'ALTER TABLE t ENABLE ALWAYS TRIGGER petition_cas_guard',
    'ALTER TRIGGER petition_cas_guard ON t RENAME TO other',
    'ALTER TRIGGER petition_cas_truncate ON t RENAME TO other',
    'DROP TRIGGER petition_cas_guard ON t',
    'DROP TRIGGER petition_cas_truncate ON t',
    'CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', ''t_fates'', ''{"won": ["open"]}'')',
    'CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW WHEN (false) EXECUTE FUNCTION guard_fate(''id'', ''state'', ''t_fates'', ''{"open": ["won"]}'')',
    'CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', ''t_fates'', ''{"open": ["won"]}'')',
    'CREATE OR REPLACE TRIGGER petition_cas_truncate AFTER TRUNCATE ON t EXECUTE FUNCTION guard_truncate()',
    'CREATE TRIGGER other AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', ''t_fates'', ''{"open": ["won"]}'')',
    'CREATE CONSTRAINT TRIGGER other AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', ''t_fates'', ''{"open": ["won"]}'')']) c;

-- a trigger with our name, or as deferrable, whose table had none
CREATE TABLE u (id int PRIMARY KEY, state text);
SELECT c, refused(c) FROM unnest(ARRAY[
    'CREATE CONSTRAINT TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u DEFERRABLE FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', ''u_fates'', ''{"open": ["won"]}'')',
    'CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OF state OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', ''u_fates'', ''{"open": ["won"]}'')',
    'CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW WHEN (true) EXECUTE FUNCTION guard_fate(''id'', ''state'', ''u_fates'', ''{"open": ["won"]}'')',
    'CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''nothing'', ''u_fates'', ''{"open": ["won"]}'')',
    'CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', ''u_fates'', ''{"open": ["won"]}'')']) c;

-- columns, keys and names
CREATE TABLE stranger (id int NOT NULL, state text, note text);
CREATE TABLE stranger_too (LIKE stranger);
SELECT c, refused(c) FROM unnest(ARRAY[
    'ALTER TABLE t DROP COLUMN state',
    'ALTER TABLE t RENAME state TO status',
    'ALTER TABLE t RENAME id TO number',
    'ALTER TABLE t ALTER state TYPE varchar',
    'ALTER TABLE t ALTER state TYPE text USING ''open''',
    'ALTER TABLE t ALTER id TYPE bigint',
    'ALTER TABLE t ALTER note TYPE varchar',
    'ALTER TABLE t RENAME note TO remark',
    'ALTER TABLE t DROP CONSTRAINT t_pkey',
    'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD UNIQUE (id) DEFERRABLE',
    'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD UNIQUE (id)',
    'ALTER TABLE t SET SCHEMA ddl_guard_2',
    'ALTER TABLE t RENAME TO other',
    'ALTER SCHEMA ddl_guard RENAME TO ddl_guard_3',
    'ALTER TABLE t ADD other int, ALTER note SET NOT NULL',
    'CREATE TABLE child () INHERITS (t)',
    'ALTER TABLE stranger INHERIT t',
    'ALTER TABLE t INHERIT stranger',
    'ALTER TABLE stranger INHERIT stranger_too',
    'CREATE INDEX ON t (note)']) c;
CREATE TABLE nullable (id int NOT NULL UNIQUE, state text, note text NOT NULL);
SELECT govern('nullable', '{"open": ["won", "lost"]}');
SELECT refused('ALTER TABLE nullable ALTER id DROP NOT NULL');
SELECT refused('ALTER TABLE nullable ALTER note DROP NOT NULL');

-- typed tables and enums
CREATE TYPE row_type AS (id int, state text, note text);
CREATE TABLE typed OF row_type (PRIMARY KEY (id));
CREATE TABLE typed_too OF row_type;
SELECT govern('typed', '{"open": ["won", "lost"]}');
CREATE TYPE row_type_3 AS (id int, state text, note text);
CREATE TYPE stage AS ENUM ('open', 'won', 'lost', 'unused');
CREATE TABLE staged (id int PRIMARY KEY, state stage);
SELECT govern('staged', '{"open": ["won", "lost"]}');
SELECT c, refused(c) FROM unnest(ARRAY[
    'ALTER TYPE row_type ALTER ATTRIBUTE state TYPE varchar CASCADE',
    'ALTER TYPE row_type RENAME ATTRIBUTE state TO status CASCADE',
    'ALTER TYPE row_type ALTER ATTRIBUTE note TYPE varchar CASCADE',
    'CREATE TYPE row_type_2 AS (id int)',
    'ALTER TYPE row_type_3 ALTER ATTRIBUTE state TYPE varchar',
    'ALTER TYPE stage RENAME VALUE ''won'' TO ''gained''',
    'ALTER TYPE stage RENAME VALUE ''unused'' TO ''void''',
    'ALTER TYPE stage RENAME TO stages',
    'DROP TYPE stage CASCADE']) c;

-- the ledger
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END';
CREATE TRIGGER petition_cas_mine AFTER INSERT ON t_fates EXECUTE FUNCTION nothing();
SELECT c, refused(c) FROM unnest(ARRAY[
    'DROP TABLE t_fates',
    'DROP TABLE t, t_fates',
    'ALTER TABLE t_fates RENAME TO other',
    'ALTER INDEX t_fates RENAME TO other',
    'ALTER INDEX t_fates_pkey RENAME TO other',
    'ALTER TABLE t_fates SET SCHEMA ddl_guard_2',
    'ALTER TABLE t_fates RENAME id TO number',
    'ALTER TABLE t_fates RENAME fate TO verdict',
    'ALTER TABLE t_fates DROP COLUMN from_state',
    'ALTER TABLE t_fates ALTER fate TYPE text USING ''lost''',
    'ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey',
    'ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey, ADD PRIMARY KEY (id) DEFERRABLE',
    'ALTER TABLE t_fates SET UNLOGGED',
    'ALTER TABLE t_fates DISABLE TRIGGER petition_cas_ledger',
    'ALTER TABLE t_fates DISABLE TRIGGER petition_cas_ledger_truncate',
    'ALTER TABLE t_fates ENABLE TRIGGER ALL',
    'DROP TRIGGER petition_cas_ledger ON t_fates',
    'DROP TRIGGER petition_cas_ledger_truncate ON t_fates',
    'DROP TRIGGER petition_cas_mine ON t_fates',
    'ALTER TRIGGER petition_cas_ledger ON t_fates RENAME TO other',
    'CREATE OR REPLACE TRIGGER petition_cas_ledger BEFORE UPDATE OR DELETE ON t_fates FOR EACH ROW WHEN (false) EXECUTE FUNCTION guard_ledger()',
    'ALTER TABLE t_fates ADD note text',
    'CREATE INDEX ON t_fates (assigned_at)',
    'GRANT SELECT ON t_fates TO public']) c;

-- partitions
CREATE TABLE p (id int PRIMARY KEY, state text) PARTITION BY RANGE (id);
CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10);
SELECT govern('p', '{"open": ["won", "lost"]}');
INSERT INTO p VALUES (1, 'won');
CREATE TABLE fated (id int PRIMARY KEY, state text);
INSERT INTO fated VALUES (11, 'lost');
CREATE TABLE unknown (id int PRIMARY KEY, state text);
INSERT INTO unknown VALUES (21, 'reopened');
SELECT c, refused(c) FROM unnest(ARRAY[
    'ALTER TABLE p_low DISABLE TRIGGER USER',
    'ALTER TABLE p SET SCHEMA ddl_guard_2',
    'ALTER TABLE p_low SET SCHEMA ddl_guard_2',
    'ALTER TABLE p_low RENAME TO other',
    'ALTER TABLE p DETACH PARTITION p_low',
    'DROP TABLE p_low',
    'ALTER TABLE p ATTACH PARTITION unknown FOR VALUES FROM (20) TO (30)',
    'ALTER TABLE p ALTER state TYPE text USING ''open''',
    'ALTER TABLE p ATTACH PARTITION t FOR VALUES FROM (20) TO (30)']) c;
ALTER TABLE p ATTACH PARTITION fated FOR VALUES FROM (10) TO (20);
SELECT id, from_state, fate FROM p_fates ORDER BY id;

-- a ledger that no table uses any more is an ordinary table, but for its rows
SELECT ungovern('nullable');
SELECT c, refused(c) FROM unnest(ARRAY[
    'ALTER TABLE nullable_fates RENAME TO other',
    'DROP TRIGGER petition_cas_ledger ON nullable_fates',
    'ALTER TABLE nullable_fates DISABLE TRIGGER petition_cas_ledger',
    'ALTER TABLE nullable_fates ALTER fate TYPE varchar',
    'DROP TABLE nullable_fates']) c;

-- nor does a table hinder it whose ledger has the same name in another schema
CREATE TABLE ddl_guard_2.t (id int PRIMARY KEY, state text);
SELECT govern('ddl_guard_2.t', '{"open": ["won", "lost"]}');
SELECT ungovern('ddl_guard_2.t');
SELECT refused('ALTER TABLE ddl_guard_2.t_fates RENAME TO other');
-- nor one whose ledger is gone
CREATE TABLE v (id int PRIMARY KEY, state text);
CREATE TABLE ddl_guard_2.v (id int PRIMARY KEY, state text);
SELECT govern('v', '{"open": ["won", "lost"]}'), govern('ddl_guard_2.v', '{"open": ["won", "lost"]}');
SELECT ungovern('ddl_guard_2.v');
SET petition_cas.allow_unguard = on;
DROP TABLE v_fates;
RESET petition_cas.allow_unguard;
SELECT refused('ALTER TABLE ddl_guard_2.v_fates ALTER fate TYPE varchar');
SELECT refused('ALTER TABLE ddl_guard_2.t_fates RENAME TO other');
DROP TABLE v;
-- nor a table without a key that only has the name of a ledger
CREATE TABLE ddl_guard_2.staged_fates (id int, note text);
CREATE INDEX staged_note ON ddl_guard_2.staged_fates (note);
SELECT refused('DROP INDEX ddl_guard_2.staged_note');
-- nor one that has a partition there
CREATE TABLE ddl_guard_2.p (id int PRIMARY KEY, state text);
SELECT govern('ddl_guard_2.p', '{"open": ["won", "lost"]}');
SELECT ungovern('ddl_guard_2.p');
CREATE TABLE ddl_guard_2.p_high PARTITION OF p FOR VALUES FROM (100) TO (200);
SELECT refused('DROP TABLE ddl_guard_2.p_fates');

-- a guard whose ledger is there: a restore creates it so
DROP TABLE nullable;
CREATE TABLE nullable (id int PRIMARY KEY, state text);
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON nullable FOR EACH ROW
    EXECUTE FUNCTION guard_fate('id', 'state', 'nullable_fates', '{"open": ["won", "lost"]}')$$);
SELECT told('ALTER TABLE nullable ENABLE ALWAYS TRIGGER petition_cas_guard');
SELECT told('CREATE TRIGGER petition_cas_truncate AFTER TRUNCATE ON nullable EXECUTE FUNCTION guard_truncate()');
SELECT told('ALTER TABLE nullable ENABLE ALWAYS TRIGGER petition_cas_truncate');
SELECT * FROM verify_fates('nullable');

-- whole schemas go
SET client_min_messages = error;
SELECT refused('DROP SCHEMA ddl_guard CASCADE');
SELECT * FROM verify_fates('t');
SELECT * FROM verify_fates('p');
DROP SCHEMA ddl_guard, ddl_guard_2 CASCADE;
