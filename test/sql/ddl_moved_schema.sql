-- A governed table cannot move to a schema where a ledger of its ledger's name
-- is waiting.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ddl_moved_schema;
CREATE SCHEMA ddl_moved_schema_2;
SET search_path = ddl_moved_schema, public;

CREATE TABLE ddl_moved_schema_2.cases (id int PRIMARY KEY, state text);
SELECT govern('ddl_moved_schema_2.cases', '{"open": ["granted", "denied"]}');
DROP TABLE ddl_moved_schema_2.cases;
CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT govern('cases', '{"open": ["granted", "denied"]}');
INSERT INTO cases VALUES (1, 'granted');

SELECT told('ALTER TABLE cases SET SCHEMA ddl_moved_schema_2');
SELECT told('ALTER TABLE cases_fates SET SCHEMA ddl_moved_schema_2');
SELECT told('ALTER TABLE cases RENAME TO matters');
SELECT * FROM verify_fates('matters');

DROP SCHEMA ddl_moved_schema, ddl_moved_schema_2 CASCADE;
