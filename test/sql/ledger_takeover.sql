-- A ledger from an earlier govern is taken over, if it fits.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_ledger_takeover;
SET search_path = test_ledger_takeover, public;

CREATE FUNCTION graph() RETURNS jsonb LANGUAGE sql RETURN '{"open": ["closed", "void"]}'::jsonb;
CREATE TABLE t (id int PRIMARY KEY, state text);
SELECT govern('t', graph());
INSERT INTO t VALUES (1, 'closed'), (2, 'open'), (3, 'open');
UPDATE t SET state = 'void' WHERE id = 3;
SELECT ungovern('t');
INSERT INTO t VALUES (4, 'closed');
SELECT govern('t', graph());
SELECT id, from_state, fate FROM t_fates ORDER BY id;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 't_fates'::regclass ORDER BY 1;
SELECT verify_fates('t');

-- Every row has to agree with it.
SELECT ungovern('t');
UPDATE t SET state = 'open' WHERE id = 1;
UPDATE t SET state = 'closed' WHERE id = 3;
SELECT told($$ SELECT govern('t', graph()) $$);
UPDATE t SET state = 'closed' WHERE id = 1;
UPDATE t SET state = 'void' WHERE id = 3;
SELECT told($$ SELECT govern('t', graph()) $$);
-- And every fate has its row: the ledger may be that of a dropped table.
SELECT ungovern('t');
DELETE FROM t WHERE id = 4;
SELECT told($$ SELECT govern('t', graph()) $$);
INSERT INTO t VALUES (4, 'closed');
SELECT told($$ SELECT govern('t', graph()) $$);
SELECT * FROM verify_fates('t');
SELECT verify_fates('t');

-- A lifecycle without a fate that the ledger holds, and one that leads on from it.
SELECT ungovern('t');
SELECT told($$ SELECT govern('t', '{"open": ["closed"]}') $$);
SELECT told($$ SELECT govern('t', '{"open": ["closed", "void"], "void": ["closed"]}') $$);

SET petition_cas.allow_unguard = on;

-- With further columns of the user's it fits; without one of its own it does not.
ALTER TABLE t_fates ADD remark text;
SELECT told($$ SELECT govern('t', graph()) $$);
SELECT ungovern('t');
CREATE FUNCTION after(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RETURN QUERY SELECT told($c$ SELECT govern('t', graph(), 'id') $c$);
    RAISE SQLSTATE '99999';
EXCEPTION WHEN SQLSTATE '99999' THEN
    RETURN;
END $$;
SELECT after('ALTER TABLE t_fates DROP assigned_by');
SELECT after('ALTER TABLE t_fates ALTER assigned_at TYPE timestamp');
SELECT after('ALTER TABLE t_fates RENAME fate TO final');
SELECT after('ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey');
SELECT after('ALTER TABLE t_fates ALTER id TYPE bigint');
SELECT after('ALTER TABLE t_fates RENAME id TO number');
SELECT after('ALTER TABLE t RENAME id TO number; ALTER TABLE t ADD id int UNIQUE NOT NULL GENERATED ALWAYS AS IDENTITY');
SELECT after('DROP TRIGGER petition_cas_ledger ON t_fates');
SELECT after('ALTER TABLE t_fates DISABLE TRIGGER ALL');
SELECT after('ALTER TABLE t_fates RENAME TO kept');
SELECT after('ALTER TABLE t_fates RENAME TO kept; CREATE VIEW t_fates AS SELECT * FROM kept');
SELECT after('ALTER TABLE t_fates RENAME TO kept; CREATE TABLE t_fates (id int PRIMARY KEY)');
SELECT after('ALTER TABLE t_fates RENAME TO kept; CREATE SEQUENCE t_fates');
SELECT after('ALTER TABLE t_fates RENAME TO kept; CREATE TYPE t_fates AS (a int)');
SELECT after('ALTER TABLE t_fates RENAME TO kept; CREATE INDEX t_fates ON t (state)');
CREATE ROLE regress_other;
GRANT ALL ON SCHEMA test_ledger_takeover TO regress_other;
SELECT after('ALTER TABLE t_fates OWNER TO regress_other');
SELECT after('ALTER TABLE t OWNER TO regress_other');
DROP OWNED BY regress_other;
DROP ROLE regress_other;

-- A key of another collation would tell other texts apart.
CREATE TABLE named (name text PRIMARY KEY, state text);
SELECT govern('named', graph(), key_column => 'name');
SELECT ungovern('named');
ALTER TABLE named_fates ALTER name TYPE text COLLATE "C";
SELECT told($$ SELECT govern('named', graph(), key_column => 'name') $$);

-- A ledger that another table uses.
SELECT govern('t', graph());
ALTER TABLE t RENAME TO renamed;
CREATE TABLE t (id int PRIMARY KEY, state text);
SELECT told($$ SELECT govern('t', graph()) $$);
-- The renamed table keeps it.
INSERT INTO renamed VALUES (10, 'closed');
SELECT fate FROM t_fates WHERE id = 10;
SELECT ungovern('renamed');
SELECT told($$ SELECT govern('t', graph()) $$);
