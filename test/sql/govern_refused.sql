-- What cannot be governed, and why not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_govern_refused;
SET search_path = test_govern_refused, public;

CREATE FUNCTION refused(relation text, rest text DEFAULT '') RETURNS SETOF text LANGUAGE sql
BEGIN ATOMIC
    SELECT told(format($c$SELECT govern(%L, '{"open": ["closed"]}'%s)$c$, relation, rest));
END;

-- Relations of other kinds.
CREATE TABLE plain (id int PRIMARY KEY, state text);
CREATE VIEW a_view AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM plain;
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (id int, state text);
CREATE TEMPORARY TABLE a_temp (id int PRIMARY KEY, state text);
SELECT refused('a_view');
SELECT refused('a_matview');
SELECT refused('a_sequence');
SELECT refused('plain_pkey');
SELECT refused('a_type');
SELECT refused('pg_temp.a_temp');
SELECT refused('pg_class');
SELECT refused('0');
SELECT refused('nowhere');

-- Inheritance and partitions.
CREATE TABLE parent (id int PRIMARY KEY, state text);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
SELECT refused('parent');
SELECT refused('child');
CREATE TABLE parted (id int PRIMARY KEY, state text) PARTITION BY LIST (id);
CREATE TABLE part PARTITION OF parted FOR VALUES IN (1);
SELECT refused('part');

-- Keys.
CREATE TABLE composite (a int, b int, state text, PRIMARY KEY (a, b));
SELECT refused('composite', $$, 'a'$$);
CREATE TABLE no_index (id int NOT NULL, state text);
SELECT refused('no_index');
CREATE INDEX ON no_index (id);
SELECT refused('no_index');
CREATE UNIQUE INDEX ON no_index (id) WHERE id > 0;
SELECT refused('no_index');
CREATE UNIQUE INDEX ON no_index ((id + 0));
SELECT refused('no_index');
CREATE TABLE deferrable_key (id int PRIMARY KEY DEFERRABLE, state text);
SELECT refused('deferrable_key');
CREATE TABLE nullable (id int UNIQUE, state text);
SELECT refused('nullable');
CREATE TABLE invalid_index (id int NOT NULL, state text);
INSERT INTO invalid_index VALUES (1, 'open'), (1, 'open');
\set VERBOSITY terse
CREATE UNIQUE INDEX CONCURRENTLY invalid_index_key ON invalid_index (id);
\set VERBOSITY default
SELECT refused('invalid_index');
CREATE TABLE no_equality (id json NOT NULL, state text);
SELECT refused('no_equality');
CREATE TABLE taken_name (fate int, fate_key int, state text, PRIMARY KEY (fate, fate_key));
SELECT refused('taken_name');

-- A unique index with another idea of equality than the column's type.
CREATE TYPE pair AS (a int, b numeric);
CREATE TABLE pairs (id pair NOT NULL, state text);
CREATE UNIQUE INDEX ON pairs (id record_image_ops);
SELECT refused('pairs');
CREATE TABLE collated (id text NOT NULL, state text);
CREATE UNIQUE INDEX ON collated (id COLLATE "C");
SELECT refused('collated');

-- State columns.
CREATE TABLE states (id int PRIMARY KEY, i int, c char(10), j jsonb, b boolean, n name, a text[],
    g text GENERATED ALWAYS AS ('open') STORED);
CREATE DOMAIN state_domain AS text;
ALTER TABLE states ADD d state_domain;
SELECT refused('states', $$, 'id', 'i'$$);
SELECT refused('states', $$, 'id', 'j'$$);
SELECT refused('states', $$, 'id', 'n'$$);
SELECT refused('states', $$, 'id', 'a'$$);

-- Columns that are not there; system columns are none.
SELECT refused('plain', $$, 'nothing'$$);
SELECT refused('plain', $$, 'id', 'nothing'$$);
SELECT refused('plain', $$, 'id', 'ctid'$$);
SELECT refused('plain', $$, 'tableoid'$$);
ALTER TABLE plain ADD gone text;
ALTER TABLE plain DROP gone;
SELECT refused('plain', $$, 'id', '........pg.dropped.3........'$$);

-- States that the column cannot hold.
CREATE TABLE short (id int PRIMARY KEY, state varchar(5));
SELECT refused('short');
CREATE TYPE mood AS ENUM ('open', 'shut');
CREATE TABLE moods (id int PRIMARY KEY, state mood);
SELECT refused('moods');

-- A table that is governed, and a ledger.
SELECT govern('plain', '{"open": ["closed"]}');
SELECT refused('plain');
SELECT refused('plain_fates', $$, 'id', 'fate'$$);

-- A trigger that has only the name of a ledger's makes no ledger.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END';
CREATE TABLE no_ledger (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_ledger AFTER INSERT ON no_ledger EXECUTE FUNCTION nothing();
SELECT refused('no_ledger');

-- Only the owner governs, and only he undoes that.
CREATE ROLE regress_owner;
CREATE ROLE regress_stranger;
GRANT ALL ON SCHEMA test_govern_refused TO regress_owner, regress_stranger;
CREATE TABLE owned (id int PRIMARY KEY, state text);
ALTER TABLE owned OWNER TO regress_owner;
GRANT ALL ON owned TO regress_stranger;
SET ROLE regress_stranger;
SELECT refused('owned');
SELECT refused('0');
RESET ROLE;
-- The ledger that a superuser makes belongs to the table's owner.
SELECT govern('owned', '{"open": ["closed"]}');
SELECT tableowner FROM pg_tables WHERE tablename = 'owned_fates' AND schemaname = 'test_govern_refused';
SET ROLE regress_stranger;
SELECT told($$ SELECT ungovern('owned') $$);
SELECT told($$ SELECT verify_fates('owned') $$);
SELECT told($$ SELECT backfill_fates('owned') $$);
SET ROLE regress_owner;
SELECT ungovern('owned');
RESET ROLE;
DROP OWNED BY regress_owner, regress_stranger;
DROP ROLE regress_owner, regress_stranger;

-- A key that has the state in it: a transition would be another row.
CREATE TABLE listed (id int, state text, PRIMARY KEY (id, state)) PARTITION BY LIST (state);
SELECT told($$ SELECT govern('listed', '{"open": ["void"]}') $$);
CREATE TABLE keyed_by_state (id int, state text, PRIMARY KEY (state, id));
SELECT told($$ SELECT govern('keyed_by_state', '{"open": ["void"]}') $$);
SELECT told($$ SELECT govern('keyed_by_state', '{"open": ["void"]}', key_column => 'state') $$);

-- Trigger events that wait for the end of the transaction; the hint helps.
CREATE TABLE waiting (id int PRIMARY KEY, state text, other int REFERENCES plain DEFERRABLE INITIALLY DEFERRED);
BEGIN;
INSERT INTO plain VALUES (7, 'open');
INSERT INTO waiting VALUES (1, 'open', 7);
SELECT refused('waiting');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT refused('waiting');
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO waiting VALUES (2, 'open', 7);
SELECT told($$ SELECT extend_lifecycle('waiting', '{"open": ["void"]}') $$);
SELECT told($$ SELECT ungovern('waiting') $$);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT told($$ SELECT extend_lifecycle('waiting', '{"open": ["void"]}') $$);
SELECT told($$ SELECT ungovern('waiting') $$);
ROLLBACK;
