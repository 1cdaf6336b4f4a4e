-- Whoever has the TRIGGER privilege may replace a trigger, but not ours.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ddl_replaced_trigger;
SET search_path = ddl_replaced_trigger, public;

CREATE TABLE cases (id int PRIMARY KEY, state text);
CREATE TABLE free (id int PRIMARY KEY);
SELECT govern('cases', '{"open": ["granted", "denied"]}');
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END';

SELECT told('CREATE OR REPLACE TRIGGER petition_cas_guard AFTER UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION nothing()');
SELECT told('CREATE OR REPLACE TRIGGER petition_cas_truncate AFTER TRUNCATE ON cases EXECUTE FUNCTION nothing()');
SELECT told('CREATE OR REPLACE TRIGGER petition_cas_ledger BEFORE UPDATE ON cases_fates FOR EACH ROW EXECUTE FUNCTION nothing()');
SELECT told('CREATE OR REPLACE TRIGGER petition_cas_ledger_truncate AFTER TRUNCATE ON cases_fates EXECUTE FUNCTION nothing()');

-- others are free
SELECT told('CREATE TRIGGER mine AFTER UPDATE ON cases FOR EACH ROW EXECUTE FUNCTION nothing()');
SELECT told('CREATE OR REPLACE TRIGGER mine AFTER DELETE ON cases FOR EACH ROW EXECUTE FUNCTION nothing()');
SELECT told('CREATE TRIGGER petition_cas_guard AFTER UPDATE ON free FOR EACH ROW EXECUTE FUNCTION nothing()');
SELECT * FROM verify_fates('cases');

DROP SCHEMA ddl_replaced_trigger CASCADE;
