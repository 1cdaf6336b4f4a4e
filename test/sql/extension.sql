-- The extension in a schema of its own, and what DROP EXTENSION leaves.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_extension;
SET search_path = test_extension, public;

CREATE DATABASE regress_petition_cas;
\set back :DBNAME
\c regress_petition_cas
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE SCHEMA "the ""extension""";
CREATE SCHEMA app;
CREATE EXTENSION petition_cas SCHEMA "the ""extension""";
SET search_path = app, "the ""extension""";
SELECT create_petitions();
INSERT INTO petition_submissions (id, text) SELECT lpad(n::text, 32, '0')::uuid, 'text' FROM generate_series(1, 3) n;
SELECT (assign_fate(lpad('1', 32, '0')::uuid, 'RECEIVED', 'ACKNOWLEDGED')).state;

-- It is found wherever it is moved to, also by sessions that used it before.
ALTER EXTENSION petition_cas SET SCHEMA public;
SELECT public.lifecycle('petition_submissions');
SELECT (public.assign_fate(lpad('2', 32, '0')::uuid, 'RECEIVED', 'ACKNOWLEDGED')).state;
SELECT public.extend_lifecycle('petition_submissions', '{"RECEIVED": ["VOID"]}');
SELECT public.verify_fates('petition_submissions');
-- Nothing depends on the search_path of those who write.
SET search_path = '';
UPDATE app.petition_submissions SET state = 'ACKNOWLEDGED' WHERE id::text ~ '3$';
SELECT public.verify_fates('app.petition_submissions');
-- Not even where operators, functions and types of the same names are in front.
SET search_path = app, public;
CREATE FUNCTION app.never(text, text) RETURNS boolean LANGUAGE sql RETURN false;
CREATE OPERATOR app.= (LEFTARG = text, RIGHTARG = text, FUNCTION = app.never);
CREATE FUNCTION app.never(uuid, uuid) RETURNS boolean LANGUAGE sql RETURN false;
CREATE OPERATOR app.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = app.never);
CREATE FUNCTION app.now() RETURNS timestamptz LANGUAGE sql RETURN '2000-01-01'::timestamptz;
CREATE DOMAIN app.text AS pg_catalog.text CHECK (VALUE = 'never');
SET search_path = app, public, pg_catalog;
INSERT INTO petition_submissions (id, text) VALUES (lpad('4', 32, '0')::pg_catalog.uuid, 'text'), (lpad('5', 32, '0')::pg_catalog.uuid, 'text');
SELECT (assign_fate(lpad('4', 32, '0')::uuid, 'RECEIVED', 'ACKNOWLEDGED')).updated_at > '2020-01-01';
SELECT * FROM try_assign_fate(lpad('4', 32, '0')::uuid, 'RECEIVED', 'ACKNOWLEDGED');
SELECT outcome FROM assign_fates(ARRAY[lpad('5', 32, '0')::uuid], 'RECEIVED', 'VOID');
SELECT verify_fates('petition_submissions');
CREATE TABLE cases (id pg_catalog.text PRIMARY KEY, state pg_catalog.text);
SELECT govern('cases', '{"open": ["closed"]}');
INSERT INTO cases VALUES ('1', 'open');
SELECT told FROM (SELECT compare_and_swap(NULL::cases, '1', 'open', 'closed') AS told) x;
SELECT * FROM verify_fates('cases');

-- Tables and ledgers stay when the extension goes, rows and all.
DROP EXTENSION petition_cas;
DROP EXTENSION petition_cas CASCADE;
SET search_path = app, pg_catalog;
SELECT count(*) FROM pg_catalog.pg_trigger WHERE NOT tgisinternal;
SET search_path = app;
SELECT pg_catalog.count(*) FROM petition_submissions;
SELECT fate FROM petition_submissions_fates ORDER BY id;
\c :back
DROP DATABASE regress_petition_cas;
