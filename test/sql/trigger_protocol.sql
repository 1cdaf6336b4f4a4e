-- What our functions say to whoever calls them as what they are not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA trigger_protocol;
SET search_path = trigger_protocol, public;

SELECT told('SELECT guard_fate()');
SELECT told('SELECT guard_truncate()');
SELECT told('SELECT guard_ledger()');
SELECT told('SELECT guard_ddl()');
SELECT told('SELECT guard_drop()');

-- an event trigger for the other event
BEGIN;
CREATE EVENT TRIGGER wrong ON sql_drop EXECUTE FUNCTION guard_ddl();
CREATE TABLE t (id int PRIMARY KEY);
SELECT told('DROP TABLE t');
ROLLBACK;
BEGIN;
CREATE EVENT TRIGGER wrong ON ddl_command_end EXECUTE FUNCTION guard_drop();
SELECT told('CREATE TABLE t (id int PRIMARY KEY)');
ROLLBACK;

-- triggers of other kinds; allow_unguard lets them be created
SET petition_cas.allow_unguard = on;
CREATE TABLE t (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_guard BEFORE INSERT ON t FOR EACH ROW
    EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}');
SELECT told('INSERT INTO t VALUES (1, ''open'')');
DROP TRIGGER petition_cas_guard ON t;
CREATE TRIGGER petition_cas_guard AFTER INSERT ON t FOR EACH STATEMENT
    EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}');
SELECT told('INSERT INTO t VALUES (1, ''open'')');
DROP TRIGGER petition_cas_guard ON t;
CREATE TRIGGER petition_cas_guard AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state');
SELECT told('INSERT INTO t VALUES (1, ''open'')');
DROP TRIGGER petition_cas_guard ON t;
CREATE TRIGGER petition_cas_guard AFTER INSERT ON t FOR EACH ROW
    EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', 'no json');
SELECT told('INSERT INTO t VALUES (1, ''open'')');
DROP TRIGGER petition_cas_guard ON t;
CREATE TRIGGER petition_cas_guard AFTER INSERT ON t FOR EACH ROW
    EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{}');
SELECT told('INSERT INTO t VALUES (1, ''open'')');
DROP TRIGGER petition_cas_guard ON t;
CREATE TRIGGER petition_cas_guard AFTER INSERT ON t FOR EACH ROW
    EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}');
SELECT told('INSERT INTO t VALUES (1, ''open'')');
SELECT told('INSERT INTO t VALUES (2, ''won'')');
ALTER TABLE t ALTER state TYPE json USING to_json(state);
SELECT told('INSERT INTO t VALUES (3, ''"open"'')');
DROP TRIGGER petition_cas_guard ON t;
CREATE TRIGGER other AFTER INSERT ON t FOR EACH ROW
    EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}');
SELECT told('INSERT INTO t VALUES (4, ''"open"'')');
DROP TRIGGER other ON t;
CREATE TRIGGER other AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION guard_ledger();
SELECT told('UPDATE t SET id = 2');
DROP TRIGGER other ON t;
CREATE TRIGGER other BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION guard_truncate();
SELECT told('INSERT INTO t VALUES (2, ''"open"'')');
RESET petition_cas.allow_unguard;

-- errors of the ledger that are no second fate are told as what they are
CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT govern('cases', '{"open": ["won", "lost"]}');
ALTER TABLE cases_fates ADD CHECK (fate <> 'lost');
INSERT INTO cases VALUES (1, 'open');
\set VERBOSITY terse
UPDATE cases SET state = 'lost';
INSERT INTO cases VALUES (2, 'lost');

DROP SCHEMA trigger_protocol CASCADE;
