-- What the guard, and govern, say to tables that were tampered with, and to
-- roles that may not see what they change.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA guard_tampered;
SET search_path = guard_tampered, public;

CREATE TABLE cases (id int PRIMARY KEY, state text, note text);
SELECT govern('cases', '{"open": ["granted", "denied"]}');
INSERT INTO cases VALUES (1, 'open'), (2, 'granted');

-- a row that arrives with its fate, which a trigger keeps out of the ledger
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END';
CREATE TRIGGER suppress BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT told($$INSERT INTO cases VALUES (3, 'denied')$$);
DROP TRIGGER suppress ON cases_fates;

-- a key that has become nullable
SET petition_cas.allow_unguard = on;
ALTER TABLE cases DROP CONSTRAINT cases_pkey, ALTER id DROP NOT NULL;
RESET petition_cas.allow_unguard;
SELECT told($$INSERT INTO cases VALUES (null, 'open')$$);
SELECT told($$UPDATE cases SET id = null WHERE id = 1$$);
ALTER TABLE cases ADD PRIMARY KEY (id);

-- a state that is null, which the replica role lets pass
SET session_replication_role = replica;
INSERT INTO cases VALUES (4, null);
RESET session_replication_role;
SELECT told($$UPDATE cases SET note = 'looked at' WHERE id = 4$$);
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 4$$);
SELECT told($$SELECT compare_and_swap(null::cases, '4', 'open', 'granted')$$);
SELECT * FROM verify_fates('cases');
DELETE FROM cases WHERE id = 4;

-- a ledger without triggers
SET petition_cas.allow_unguard = on;
DROP TRIGGER petition_cas_ledger ON cases_fates;
DROP TRIGGER petition_cas_ledger_truncate ON cases_fates;
RESET petition_cas.allow_unguard;
SELECT told($$INSERT INTO cases VALUES (5, 'denied')$$);
SELECT * FROM verify_fates('cases');

-- a ledger that a crash would empty
SELECT ungovern('cases');
ALTER TABLE cases_fates SET UNLOGGED;
SELECT told($$SELECT govern('cases', '{"open": ["granted", "denied"]}')$$);
ALTER TABLE cases_fates SET LOGGED;
SELECT govern('cases', '{"open": ["granted", "denied"]}');

-- a guard that is disabled, so that a state can become null
SET petition_cas.allow_unguard = on;
ALTER TABLE cases DISABLE TRIGGER petition_cas_guard;
RESET petition_cas.allow_unguard;
CREATE FUNCTION forget_state() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.state := null; RETURN new; END';
CREATE TRIGGER forget BEFORE UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION forget_state();
SELECT told($$SELECT compare_and_swap(null::cases, '1', 'open', 'granted')$$);
DROP TRIGGER forget ON cases;
SET petition_cas.allow_unguard = on;
ALTER TABLE cases ENABLE ALWAYS TRIGGER petition_cas_guard;
RESET petition_cas.allow_unguard;

-- a role that may read key and state, one of them, or nothing
CREATE ROLE regress_both;
CREATE ROLE regress_key;
CREATE ROLE regress_state;
CREATE ROLE regress_note;
GRANT USAGE ON SCHEMA guard_tampered TO regress_both, regress_key, regress_state, regress_note;
GRANT UPDATE ON cases TO regress_both, regress_key, regress_state, regress_note;
GRANT SELECT (id, state) ON cases TO regress_both;
GRANT SELECT (id) ON cases TO regress_key;
GRANT SELECT (state) ON cases TO regress_state;
SET ROLE regress_both;
SELECT told($$UPDATE cases SET state = 'denied'$$);
SET ROLE regress_key;
SELECT told($$UPDATE cases SET state = 'denied'$$);
SET ROLE regress_state;
SELECT told($$UPDATE cases SET state = 'denied'$$);
SET ROLE regress_note;
SELECT told($$UPDATE cases SET state = 'denied'$$);
RESET ROLE;

SELECT * FROM verify_fates('cases');

-- a key of a type that cannot be compared, and a column by the name that a
-- dropped one has
SET petition_cas.allow_unguard = on;
ALTER TABLE cases DROP CONSTRAINT cases_pkey, ALTER id TYPE json USING to_json(id);
SELECT told($$SELECT compare_and_swap(null::cases, '1', 'open', 'granted')$$);
CREATE TABLE dropped (id int PRIMARY KEY, gone int, state text);
ALTER TABLE dropped DROP gone;
CREATE TRIGGER petition_cas_guard AFTER INSERT ON dropped FOR EACH ROW EXECUTE FUNCTION guard_fate('........pg.dropped.2........', 'state', 'dropped_fates', '{"open": ["closed"]}');
SELECT told($$INSERT INTO dropped VALUES (1, 'open')$$);

-- a guard of our name that calls a function of another library
CREATE FUNCTION guard_fate() RETURNS trigger LANGUAGE c AS '$libdir/petition_cas', 'guard_fate';
UPDATE pg_proc SET probin = probin || '_not' WHERE oid = 'guard_tampered.guard_fate'::regproc;
CREATE TABLE copied (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_guard AFTER INSERT ON copied FOR EACH ROW EXECUTE FUNCTION guard_tampered.guard_fate('id', 'state', 'copied_fates', '{"open": ["closed"]}');
SELECT told($$SELECT compare_and_swap(null::copied, '1', 'open', 'granted')$$);
RESET petition_cas.allow_unguard;

DROP SCHEMA guard_tampered CASCADE;
DROP ROLE regress_both, regress_key, regress_state, regress_note;
