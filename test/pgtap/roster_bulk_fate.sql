-- A bulk fate under roster validation: all that were seen, or none.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS petition_cas;
CREATE SCHEMA bulk_fate;
SET LOCAL search_path = bulk_fate, public;

SELECT plan(9);

SELECT FROM create_petitions();
INSERT INTO petition_submissions (id, text, realm)
SELECT lpad(i::text, 32, '0')::uuid, 'text', CASE WHEN i <= 4 THEN 'north' ELSE 'south' END FROM generate_series(1, 6) AS i;
UPDATE petition_submissions SET state = 'DELIBERATING';
SELECT resolved_ids AS ids, roster_hash AS hash FROM resolve_roster('petition_submissions', 'state:DELIBERATING realm:north') \gset
SELECT is(cardinality(:'ids'::text[]), 4, 'four are seen');
CREATE FUNCTION pg_temp.acknowledge(ids text[], hash text, confirmed boolean DEFAULT false)
RETURNS TABLE (submission_id uuid, outcome text, current_state text) LANGUAGE sql AS $$
	SELECT * FROM assign_fates((SELECT resolved_ids FROM claim_roster('petition_submissions',
		'state:DELIBERATING realm:north', ids, hash, confirmed => confirmed))::uuid[], 'DELIBERATING', 'ACKNOWLEDGED')
$$;
SAVEPOINT seen;

SELECT results_eq(format('SELECT DISTINCT outcome, current_state, count(*) OVER () FROM pg_temp.acknowledge(%L, %L)', :'ids', :'hash'),
	$$VALUES ('assigned', 'ACKNOWLEDGED', 4::bigint)$$, 'unchanged: all get their fate');
SELECT is((SELECT count(*) FROM petition_submissions_fates), 4::bigint, 'and a ledger row');
ROLLBACK TO seen;

SELECT FROM assign_fate(lpad('2', 32, '0')::uuid, 'DELIBERATING', 'ESCALATED');
SELECT throws_ok(format('SELECT pg_temp.acknowledge(%L, %L)', :'ids', :'hash'), 'PF005', NULL, 'changed: refused');
SELECT is((SELECT count(*) FROM petition_submissions WHERE state = 'ACKNOWLEDGED'), 0::bigint, 'and none got a fate');
SELECT resolved_ids AS new_ids, roster_hash AS new_hash
FROM validate_roster('petition_submissions', 'state:DELIBERATING realm:north', :'ids', :'hash') \gset
SELECT is((SELECT count(*) FROM pg_temp.acknowledge(:'new_ids', :'new_hash')), 3::bigint, 'submitted again with the new hash: three');
SELECT results_eq('SELECT fate, count(*) FROM petition_submissions_fates GROUP BY fate ORDER BY fate',
	$$VALUES ('ACKNOWLEDGED', 3::bigint), ('ESCALATED', 1)$$, 'the ledger has four fates');
ROLLBACK TO seen;

SELECT FROM assign_fate(lpad('2', 32, '0')::uuid, 'DELIBERATING', 'ESCALATED');
SELECT is((SELECT count(*) FROM pg_temp.acknowledge(:'ids', :'hash', confirmed => true)), 3::bigint, 'confirmed: three');
SELECT is((SELECT count(*) FROM pg_temp.acknowledge('{}', roster_hash('{}'::uuid[]))), 0::bigint, 'an empty roster is one too');

SELECT * FROM finish();
ROLLBACK;
