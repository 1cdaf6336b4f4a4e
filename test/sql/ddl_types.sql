-- Types that tables are governed by, and strangers who use them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ddl_types;
SET search_path = ddl_types, public;
CREATE ROLE regress_owner;
CREATE ROLE regress_stranger;
GRANT ALL ON SCHEMA ddl_types TO regress_owner, regress_stranger;

SET ROLE regress_owner;
CREATE TYPE colour AS ENUM ('red', 'green', 'blue');
CREATE DOMAIN paint AS colour;
CREATE TYPE mix AS (main paint, other colour[]);
CREATE TYPE free AS ENUM ('a', 'b');
CREATE TABLE by_colour (id colour PRIMARY KEY, state text);
CREATE TABLE by_mix (id mix PRIMARY KEY, state text);
SELECT govern('by_colour', '{"open": ["won", "lost"]}'), govern('by_mix', '{"open": ["won", "lost"]}');
INSERT INTO by_colour VALUES ('red', 'open'), ('green', 'won');
CREATE TABLE parted (id mix PRIMARY KEY, state text) PARTITION BY HASH (id);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
SELECT govern('parted', '{"open": ["won", "lost"]}');

-- labels renamed in a circle would swap two rows
SELECT told($$ALTER TYPE colour RENAME VALUE 'red' TO 'amber'$$);
SELECT told($$ALTER TYPE colour ADD VALUE 'white'$$);
SELECT told($$ALTER TYPE free RENAME VALUE 'a' TO 'c'$$);
SELECT told($$ALTER TYPE colour RENAME TO color$$);
SELECT told($$ALTER TYPE color RENAME TO colour$$);
SELECT told($$ALTER TYPE mix DROP ATTRIBUTE other$$);
SELECT told($$ALTER TYPE mix ADD ATTRIBUTE third int$$);
SELECT told($$ALTER TYPE mix RENAME ATTRIBUTE main TO first$$);
SELECT told($$ALTER DOMAIN paint ADD CHECK (value <> 'blue')$$);
DROP TABLE by_colour, by_colour_fates, by_mix, by_mix_fates;
SELECT told($$ALTER TYPE colour RENAME VALUE 'red' TO 'amber'$$);
SELECT told($$ALTER TYPE mix DROP ATTRIBUTE other$$);
DROP TABLE parted, parted_fates;
SELECT told($$ALTER TYPE colour RENAME VALUE 'red' TO 'amber'$$);
SELECT told($$ALTER TYPE mix DROP ATTRIBUTE other$$);

-- so is a table's row type, a domain over a composite type, and what a cascade
-- takes out of one
CREATE TABLE shape (a int, b int);
CREATE TYPE cell AS (a int, e free);
CREATE DOMAIN cells AS cell;
CREATE TABLE by_shape (id shape PRIMARY KEY, state text);
CREATE TABLE by_cell (id cells PRIMARY KEY, state text);
SELECT govern('by_shape', '{"open": ["won", "lost"]}'), govern('by_cell', '{"open": ["won", "lost"]}');
SELECT told('ALTER TABLE shape DROP COLUMN b');
SELECT told('ALTER TABLE shape ADD c int');
SELECT told('ALTER TABLE shape ALTER b SET DEFAULT 3');
SELECT told('CREATE INDEX ON shape (a)');
SELECT told('ALTER TYPE cell DROP ATTRIBUTE a, ADD ATTRIBUTE a int');
SET client_min_messages = error;
SELECT told('DROP TYPE free CASCADE');
RESET client_min_messages;
DROP TABLE by_shape, by_shape_fates, by_cell, by_cell_fates;
SELECT told('ALTER TABLE shape DROP COLUMN b');
SELECT told('ALTER TYPE cell DROP ATTRIBUTE a');

-- What is of a temporary type would vanish with the session.
CREATE TYPE pg_temp.mood AS ENUM ('open', 'won');
CREATE DOMAIN pg_temp.number AS int;
CREATE TYPE with_temporary AS (a int, b pg_temp.number[]);
CREATE TABLE brief_1 (id int PRIMARY KEY, state pg_temp.mood);
CREATE TABLE brief_2 (id pg_temp.number PRIMARY KEY, state text);
CREATE TABLE brief_3 (id with_temporary PRIMARY KEY, state text);
SELECT c, told FROM unnest('{brief_1,brief_2,brief_3}'::text[]) c, told(format($$SELECT govern(%L, '{"open": ["won"]}')$$, c));
DROP TABLE brief_1, brief_2, brief_3;
DISCARD TEMP;

-- A stranger's table with a nonsense guard keeps nobody from anything.
SET ROLE regress_stranger;
CREATE TABLE bait (id colour PRIMARY KEY, state colour);
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'nowhere', '{"green": ["blue"]}');
SET ROLE regress_owner;
SELECT told($$ALTER TYPE colour ADD VALUE 'black'$$);
SELECT told($$ALTER TYPE colour RENAME VALUE 'green' TO 'lime'$$);
-- One that is in order keeps its keys and states.
SET ROLE regress_stranger;
DROP TABLE bait;
CREATE TABLE good (id int PRIMARY KEY, state colour);
SELECT govern('good', '{"lime": ["blue"]}');
SET ROLE regress_owner;
SELECT told($$ALTER TYPE colour ADD VALUE 'grey'$$);
SELECT told($$ALTER TYPE colour RENAME VALUE 'lime' TO 'green'$$);
-- nor does a ledger that is to be: a guard of his that names it
SET ROLE regress_stranger;
CREATE TABLE bait (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'mine_fates', '{"open": ["won"]}');
SET ROLE regress_owner;
CREATE TABLE mine (id int PRIMARY KEY, state text);
SELECT told($$SELECT govern('mine', '{"open": ["won", "lost"]}')$$);
INSERT INTO mine VALUES (1, 'won');
SELECT ungovern('mine');
SELECT told($$SELECT govern('mine', '{"open": ["won", "lost"]}')$$);
-- nor a table without a key, in whose schema indexes are dropped
SET ROLE regress_stranger;
CREATE TABLE keyless (id int, state text);
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON keyless FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'keyless_fates', '{"open": ["won"]}');
SET ROLE regress_owner;
CREATE TABLE other (id int PRIMARY KEY, note text);
CREATE INDEX other_note ON other (note);
SELECT told('DROP INDEX other_note');
SELECT told('DROP TABLE other');

-- A ledger whose key has another type modifier would record another key.
CREATE TABLE amounts (id numeric(6,0) PRIMARY KEY, state text);
SELECT govern('amounts', '{"open": ["won", "lost"]}');
SELECT ungovern('amounts');
ALTER TABLE amounts ALTER id TYPE numeric(8,2);
SELECT told($$SELECT govern('amounts', '{"open": ["won", "lost"]}')$$);
DROP TABLE amounts_fates;
SELECT told($$SELECT govern('amounts', '{"open": ["won", "lost"]}')$$);
INSERT INTO amounts VALUES (1.25, 'won');
SELECT id, fate FROM amounts_fates;

-- A domain's checks are not run where the ledger is written as its owner.
CREATE TABLE ran (who name);
GRANT INSERT ON ran TO PUBLIC;
CREATE FUNCTION spy(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ddl_types.ran VALUES (current_user); RETURN true; END $$;
CREATE DOMAIN spied AS text CHECK (spy(value));
CREATE TABLE spied_on (id spied PRIMARY KEY, state text);
SELECT govern('spied_on', '{"open": ["won", "lost"]}');
GRANT ALL ON spied_on TO regress_stranger;
SET ROLE regress_stranger;
INSERT INTO spied_on VALUES ('a', 'open'), ('b', 'won');
UPDATE spied_on SET state = 'won' WHERE id = 'a';
SELECT outcome FROM try_compare_and_swap(null::spied_on, 'a', 'open', 'lost');
SET ROLE regress_owner;
SELECT DISTINCT who FROM ran;
SELECT verify_fates('spied_on');
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'spied_on_fates'::regclass AND attname = 'id';

RESET ROLE;
SET client_min_messages = error;
DROP SCHEMA ddl_types CASCADE;
DROP ROLE regress_owner, regress_stranger;
