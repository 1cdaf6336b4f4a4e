-- Whoever may create tables in a schema can give one a guard; that must not
-- hinder the owners of the others.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ddl_bait;
CREATE ROLE bait_owner;
CREATE ROLE bait_stranger;
GRANT CREATE, USAGE ON SCHEMA ddl_bait TO bait_owner, bait_stranger;
SET search_path = ddl_bait, public;

SET ROLE bait_owner;
CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT govern('cases', '{"open": ["granted", "denied"]}');
CREATE TABLE other (id int PRIMARY KEY, note text);
CREATE INDEX other_note ON other (note);

SET ROLE bait_stranger;
-- a guard whose ledger is not there keeps no other index
CREATE TABLE loose (id int PRIMARY KEY, state text);
CREATE INDEX loose_state ON loose (state);
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON loose FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'never', '{"open": ["granted"]}')$$);
SELECT told('DROP INDEX loose_state');
DROP TABLE loose;
CREATE TABLE bait (id int, state text);
-- a ledger, or any table, of somebody else
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'cases_fates', '{"open": ["granted"]}')$$);
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'other', '{"open": ["granted"]}')$$);
-- one that is not there yet, on a table without a key
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'later', '{"open": ["granted"]}')$$);

SET ROLE bait_owner;
CREATE TABLE later (number int PRIMARY KEY, note text, fate text);
SELECT told('ALTER TABLE later DROP COLUMN fate');
CREATE INDEX later_note ON later (note);
SELECT told('DROP INDEX later_note');
SELECT told('ALTER TABLE later DROP CONSTRAINT later_pkey');
SELECT told('DROP INDEX other_note');
SELECT told('ALTER TABLE later RENAME TO latest');
SELECT told('DROP TABLE latest');
-- nor what was a ledger, and has the name that a stranger's guard was given before
SET ROLE bait_stranger;
CREATE TABLE bait_2 (id int PRIMARY KEY, state text);
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait_2 FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'former_fates', '{"open": ["granted"]}')$$);
SET ROLE bait_owner;
CREATE TABLE former (id int PRIMARY KEY, state text);
SELECT govern('former', '{"open": ["granted", "denied"]}');
SELECT ungovern('former');
SELECT told('ALTER TABLE former_fates ALTER fate TYPE varchar');
SELECT told('ALTER TABLE former_fates RENAME TO kept');
SELECT told('ALTER TABLE kept RENAME TO former_fates');
SELECT told('ALTER TABLE former_fates DROP COLUMN from_state');
SELECT told('DROP TRIGGER petition_cas_ledger_truncate ON former_fates');
SELECT told('DROP TABLE former_fates');
RESET ROLE;
DROP TABLE bait_2;
SET ROLE bait_owner;
-- his own are still judged
SELECT told('ALTER TABLE cases DROP CONSTRAINT cases_pkey');
SELECT told('ALTER TABLE cases_fates DROP CONSTRAINT cases_fates_pkey');

-- also where a role has the ledger that has been granted the owner, or the owner
-- that role: either could take it back
RESET ROLE;
CREATE ROLE bait_grantee;
GRANT bait_owner TO bait_grantee;
SELECT told('ALTER TABLE cases_fates OWNER TO bait_grantee');
SET petition_cas.allow_unguard = on;
ALTER TABLE cases_fates OWNER TO bait_grantee;
RESET petition_cas.allow_unguard;
SELECT told('ALTER TABLE cases_fates RENAME TO kept');
REVOKE bait_owner FROM bait_grantee;
GRANT bait_grantee TO bait_owner;
SELECT told('ALTER TABLE cases_fates RENAME TO kept');
REVOKE bait_grantee FROM bait_owner;
SELECT told('ALTER TABLE cases_fates RENAME TO kept');
SELECT told('ALTER TABLE kept RENAME TO cases_fates');
ALTER TABLE cases_fates OWNER TO bait_owner;

-- and so they are for the owner of the schema, who may drop indexes in it
RESET ROLE;
CREATE ROLE bait_schema_owner;
SET ROLE bait_owner;
CREATE TABLE keyed (id int NOT NULL, state text);
CREATE UNIQUE INDEX keyed_id ON keyed (id);
SELECT govern('keyed', '{"open": ["granted", "denied"]}');
RESET ROLE;
DROP TABLE bait;
ALTER SCHEMA ddl_bait OWNER TO bait_schema_owner;
SET ROLE bait_schema_owner;
SELECT told('DROP INDEX keyed_id');

RESET ROLE;
DROP SCHEMA ddl_bait CASCADE;
DROP ROLE bait_owner, bait_stranger, bait_schema_owner, bait_grantee;
