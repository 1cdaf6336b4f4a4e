-- petition_cas.actor: what is recorded can be dumped and restored.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_actor;
SET search_path = test_actor, public;
CREATE TABLE t (id int PRIMARY KEY, state text);
SELECT govern('t', '{"open": ["won", "lost"]}');
INSERT INTO t SELECT n, 'open' FROM generate_series(1, 9) n;

SELECT told($$SELECT length(set_config('petition_cas.actor', repeat('x', 1000), true))$$);
SELECT told($$SELECT length(set_config('petition_cas.actor', repeat('x', 1001), true))$$);
SELECT told($$SELECT length(set_config('petition_cas.actor', repeat('é', 501), true))$$);
SELECT told($$SELECT length(set_config('petition_cas.actor', repeat('x', 10000000), true))$$);
SELECT told($$ALTER DATABASE contrib_regression SET petition_cas.actor = ''$$);
DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER SET petition_cas.actor = %L', repeat('x', 1001)); EXCEPTION WHEN OTHERS THEN RAISE WARNING '%', SQLSTATE; END $$;
ALTER DATABASE contrib_regression RESET petition_cas.actor;
SHOW petition_cas.actor;
BEGIN;
SELECT length(set_config('petition_cas.actor', repeat('é', 500), true));
UPDATE t SET state = 'won' WHERE id = 1;
COMMIT;
SELECT length(assigned_by) FROM t_fates;

-- What was set before the module was there, or the database known, is checked
-- when it is to be written.
\c -
\set ECHO all
SET client_min_messages = warning;
SET petition_cas.actor = 'early';
SELECT set_config('petition_cas.actor', repeat('x', 1001), false) IS NOT NULL;
UPDATE test_actor.t SET state = 'won' WHERE id = 2;
UPDATE test_actor.t SET state = 'open' WHERE id = 3;
SET petition_cas.actor = 'late';
UPDATE test_actor.t SET state = 'won' WHERE id = 2;
SELECT assigned_by FROM test_actor.t_fates WHERE id = 2;
DROP SCHEMA test_actor CASCADE;
