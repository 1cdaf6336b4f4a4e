-- What makes a governed table unsound: each problem is told by verify_fates, and
-- while it is there the table gets no fate, whatever way it is asked for.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_soundness;
SET search_path = test_soundness, public;
CREATE ROLE regress_app;
CREATE ROLE regress_other;
GRANT ALL ON SCHEMA test_soundness TO regress_other;

CREATE TYPE stage AS ENUM ('open', 'won', 'lost', 'spare');
CREATE TABLE t (id int PRIMARY KEY, state text, note text);
CREATE TABLE staged (id varchar(10) PRIMARY KEY, state stage);
CREATE TABLE p (id int PRIMARY KEY, state text, note text) PARTITION BY RANGE (id);
CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
CREATE TABLE p_high_1 PARTITION OF p_high FOR VALUES FROM (10) TO (15);
SELECT govern('t', '{"open": ["won", "lost"]}'), govern('p', '{"open": ["won", "lost"]}'), govern('staged', '{"open": ["won", "lost"]}');
INSERT INTO t VALUES (1, 'open'), (2, 'won');
INSERT INTO p VALUES (1, 'open'), (2, 'won'), (11, 'open');
INSERT INTO staged VALUES ('1', 'open'), ('2', 'won');

-- Runs a command that a superuser may, and tells what is wrong then, what
-- becomes of the ways to a fate, and undoes it.
CREATE FUNCTION after(governed regclass, command text, ways text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL petition_cas.allow_unguard = on;
    EXECUTE command;
    SET LOCAL petition_cas.allow_unguard = off;
    RETURN NEXT command;
    RETURN QUERY SELECT '  ' || problem FROM verify_fates(governed) WHERE key IS NULL ORDER BY problem COLLATE "C";
    RETURN NEXT '  -> ' || (SELECT string_agg(left(told, 5), ', ') FROM unnest(ways) w, LATERAL told(w) WHERE told NOT LIKE '  %');
    RAISE SQLSTATE '99999';
EXCEPTION WHEN SQLSTATE '99999' THEN
    RETURN;
END $$;
CREATE FUNCTION ways() RETURNS text[] LANGUAGE sql IMMUTABLE RETURN
    ARRAY[$$SELECT try_compare_and_swap(null::t, '1', 'open', 'won')$$, $$UPDATE t SET state = 'won' WHERE id = 1$$, $$INSERT INTO t VALUES (9, 'lost')$$];

SELECT after('t', 'SELECT', ways());
-- the table
SELECT after('t', c, ways()) FROM unnest(ARRAY[
    'ALTER TABLE t DROP CONSTRAINT t_pkey',
    'ALTER TABLE t DROP CONSTRAINT t_pkey, ALTER id DROP NOT NULL',
    'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD UNIQUE (id) DEFERRABLE',
    'ALTER TABLE t DROP CONSTRAINT t_pkey; CREATE UNIQUE INDEX ON t (id) WHERE id > 0',
    'ALTER TABLE t DROP CONSTRAINT t_pkey; CREATE UNIQUE INDEX ON t (id, note)',
    'CREATE UNIQUE INDEX t_id ON t (id); ALTER TABLE t DROP CONSTRAINT t_pkey; UPDATE pg_index SET indisvalid = false WHERE indexrelid = ''t_id''::regclass',
    'CREATE UNIQUE INDEX t_id ON t (id); ALTER TABLE t DROP CONSTRAINT t_pkey; UPDATE pg_index SET indisready = false WHERE indexrelid = ''t_id''::regclass',
    'ALTER TABLE t ALTER id TYPE bigint',
    'ALTER TABLE t RENAME id TO number',
    'ALTER TABLE t RENAME state TO stage',
    'ALTER TABLE t ALTER state TYPE json USING to_json(state)',
    'ALTER TABLE t DROP state; ALTER TABLE t ADD state text GENERATED ALWAYS AS (note) STORED',
    'CREATE TABLE child () INHERITS (t)',
    'CREATE TABLE parent (id int NOT NULL, state text); ALTER TABLE t INHERIT parent']) c;
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
CREATE TABLE whole (id int NOT NULL, state text, note text) PARTITION BY LIST (id);
ALTER TABLE whole ATTACH PARTITION t DEFAULT;
SELECT told($$UPDATE t SET state = 'won' WHERE id = 1$$);
SELECT told($$UPDATE whole SET state = 'won' WHERE id = 1$$);
ROLLBACK;
-- its triggers
SELECT after('t', c, ways()) FROM unnest(ARRAY[
    'ALTER TABLE t DISABLE TRIGGER petition_cas_guard',
    'ALTER TABLE t DISABLE TRIGGER petition_cas_truncate',
    'ALTER TABLE t ENABLE TRIGGER petition_cas_guard',
    'ALTER TABLE t ENABLE REPLICA TRIGGER petition_cas_guard',
    'DROP TRIGGER petition_cas_truncate ON t',
    'CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', ''t_fates'', ''{"open": ["won", "lost"]}''); ALTER TABLE t ENABLE ALWAYS TRIGGER petition_cas_guard']) c;
-- the ledger
SELECT after('t', c, ways()) FROM unnest(ARRAY[
    'DROP TABLE t_fates',
    'ALTER TABLE t_fates RENAME TO kept',
    'ALTER TABLE t_fates RENAME TO kept; CREATE VIEW t_fates AS SELECT * FROM kept',
    'ALTER TABLE t_fates SET UNLOGGED',
    'ALTER TABLE t_fates OWNER TO regress_other',
    'CREATE TABLE child () INHERITS (t_fates)',
    'ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey',
    'ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey, ADD PRIMARY KEY (id) DEFERRABLE',
    'ALTER TABLE t_fates ALTER fate DROP NOT NULL',
    'ALTER TABLE t_fates ALTER assigned_by DROP NOT NULL',
    'UPDATE pg_attribute SET attnotnull = true WHERE attrelid = ''t_fates''::regclass AND attname = ''from_state''',
    'ALTER TABLE t_fates DROP from_state',
    'ALTER TABLE t_fates ALTER fate TYPE varchar',
    'ALTER TABLE t_fates ALTER assigned_at TYPE timestamptz(0)',
    'ALTER TABLE t_fates ALTER id TYPE bigint',
    'ALTER TABLE t_fates RENAME id TO number',
    'ALTER TABLE t_fates DROP assigned_by; ALTER TABLE t_fates ADD assigned_by text GENERATED ALWAYS AS (fate) STORED NOT NULL',
    'CREATE RULE r AS ON INSERT TO t_fates DO INSTEAD NOTHING',
    'CREATE RULE r AS ON UPDATE TO t_fates DO ALSO SELECT 1',
    'DROP TRIGGER petition_cas_ledger ON t_fates',
    'ALTER TABLE t_fates DISABLE TRIGGER petition_cas_ledger_truncate']) c;
-- partitions: a swap through the whole, and an UPDATE of the partition
SELECT after('p', c, ARRAY[$$SELECT try_compare_and_swap(null::p, '11', 'open', 'won')$$, $$SELECT try_compare_and_swap(null::p, '1', 'open', 'won')$$,
    $$UPDATE p SET state = 'won' WHERE id = 1$$, $$UPDATE p_high_1 SET state = 'won' WHERE id = 11$$]) FROM unnest(ARRAY[
    'ALTER TABLE p_high_1 DISABLE TRIGGER petition_cas_guard',
    'ALTER TABLE p DISABLE TRIGGER petition_cas_truncate',
    'ALTER TABLE p DROP CONSTRAINT p_pkey',
    'ALTER TABLE p_fates DROP CONSTRAINT p_fates_pkey']) c;
-- an enum, and a key with a type modifier
SELECT after('staged', c, ARRAY[$$SELECT try_compare_and_swap(null::staged, '1', 'open', 'won')$$, $$UPDATE staged SET state = 'won' WHERE id = '1'$$]) FROM unnest(ARRAY[
    'ALTER TYPE stage RENAME VALUE ''lost'' TO ''gone''',
    'ALTER TABLE staged ALTER id TYPE varchar(20)',
    'ALTER TABLE staged_fates ALTER id TYPE text']) c;

-- What was remembered is forgotten with each of these, and so it is when the
-- session has given fates before.
UPDATE t SET state = 'won' WHERE id = 1;
INSERT INTO t VALUES (3, 'open'), (4, 'open'), (5, 'open');
SET petition_cas.allow_unguard = on;
ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey;
RESET petition_cas.allow_unguard;
SELECT told($$UPDATE t SET state = 'won' WHERE id = 3$$);
-- what else the lifecycle allows goes on, and what it refuses is refused
SELECT told($$INSERT INTO t VALUES (6, 'open')$$);
SELECT told($$UPDATE t SET state = 'lost' WHERE id = 2$$);
SELECT told($$DELETE FROM t WHERE id = 2$$);
SELECT * FROM try_compare_and_swap(null::t, '2', 'open', 'won');
SELECT told($$SELECT extend_lifecycle('t', '{"open": ["void"]}')$$);
SELECT told($$SELECT backfill_fates('t')$$);

-- Whoever owns the table repairs it, in as many commands as he likes.
SET petition_cas.allow_unguard = on;
ALTER TABLE t_fates ALTER fate DROP NOT NULL;
RESET petition_cas.allow_unguard;
SELECT told('ALTER TABLE t_fates SET UNLOGGED');
SELECT told('ALTER TABLE t_fates ALTER fate SET NOT NULL');
SELECT told('ALTER TABLE t ADD remark text');
SELECT told('ALTER TABLE t_fates ADD PRIMARY KEY (id)');
SELECT told('ALTER TABLE t_fates ALTER fate DROP NOT NULL');
SELECT * FROM verify_fates('t');
SELECT told($$UPDATE t SET state = 'won' WHERE id = 3$$);

-- What is imprudent is told, and stops nobody.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER early BEFORE INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER late AFTER INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER elsewhere BEFORE UPDATE ON t_fates FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE UNIQUE INDEX one_each ON t_fates (fate, id, assigned_by);
GRANT INSERT, TRIGGER ON t_fates TO regress_app;
GRANT SELECT ON t_fates TO PUBLIC;
GRANT UPDATE (fate) ON t_fates TO regress_app;
ALTER EVENT TRIGGER petition_cas_ddl DISABLE;
ALTER EVENT TRIGGER petition_cas_start ENABLE;
SELECT problem FROM verify_fates('t');
ALTER EVENT TRIGGER petition_cas_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER petition_cas_start ENABLE ALWAYS;
SELECT told($$UPDATE t SET state = 'won' WHERE id = 4$$);

-- A problem that all lifecycles of a table have is told once.
CREATE TABLE twice (id int PRIMARY KEY, state text, payment_state text);
SELECT govern('twice', '{"open": ["won", "lost"]}');
SELECT govern('twice', '{"due": ["paid", "waived"]}', state_column => 'payment_state');
BEGIN;
ALTER EVENT TRIGGER petition_cas_ddl DISABLE;
ALTER EVENT TRIGGER petition_cas_start DISABLE;
ALTER TABLE twice RENAME id TO number;
SELECT problem FROM verify_fates('twice') WHERE problem NOT LIKE 'imprudent: %';
ROLLBACK;

DROP SCHEMA test_soundness CASCADE;
DROP ROLE regress_app, regress_other;
