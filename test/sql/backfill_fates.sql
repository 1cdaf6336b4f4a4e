-- backfill_fates: ledger rows for fated rows that lack one, and only those.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_backfill_fates;
SET search_path = test_backfill_fates, public;

CREATE TYPE stage AS ENUM ('open', 'closed', 'void');
CREATE TABLE cases (id int PRIMARY KEY, state stage);
SELECT govern('cases', '{"open": ["closed", "void"]}');
INSERT INTO cases VALUES (1, 'open'), (2, 'closed');
SELECT backfill_fates('cases');
SET session_replication_role = replica;
INSERT INTO cases SELECT n, CASE n % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'closed' ELSE 'void' END::stage FROM generate_series(10, 19) n;
RESET session_replication_role;
BEGIN;
SET LOCAL petition_cas.actor = 'importer';
SELECT backfill_fates('cases');
SELECT id, from_state, fate, assigned_by, assigned_at = now(), transaction_id = pg_current_xact_id()
FROM cases_fates ORDER BY id;
SELECT backfill_fates('cases');
COMMIT;
SELECT verify_fates('cases');
SELECT told($$ UPDATE cases SET state = 'open' WHERE id = 10 $$);

-- A fate that the ledger tells otherwise is left as it is.
SET session_replication_role = replica;
INSERT INTO cases VALUES (30, 'closed'), (31, 'closed');
RESET session_replication_role;
INSERT INTO cases_fates VALUES (30, NULL, 'void', now(), 'x', '1');
SELECT backfill_fates('cases');
SELECT id, fate FROM cases_fates WHERE id >= 30 ORDER BY id;
SELECT * FROM verify_fates('cases');

BEGIN READ ONLY;
SELECT told($$ SELECT backfill_fates('cases') $$);
SELECT count(*) FROM verify_fates('cases');
COMMIT;
CREATE TABLE plain (id int PRIMARY KEY, state text);
SELECT told($$ SELECT backfill_fates('plain') $$);
