-- The contract of rosters: names, arguments, results, SQLSTATEs.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS petition_cas;

SELECT plan(49);

-- signatures
SELECT is(pg_get_function_arguments(p.oid), arguments, name || ': arguments')
FROM (VALUES
	('roster_hash', 'ids anyarray, scope text DEFAULT NULL::text'),
	('roster_hash_agg', 'id anynonarray'),
	('parse_filter', 'filter text'),
	('resolve_roster', 'source regclass, filter text, at timestamp with time zone DEFAULT NULL::timestamp with time zone, scope text DEFAULT NULL::text, key_column name DEFAULT ''id''::name, period_column name DEFAULT NULL::name, OUT resolved_ids text[], OUT roster_hash text'),
	('validate_roster', 'source regclass, filter text, seen_ids anycompatiblearray, seen_hash text, at timestamp with time zone DEFAULT NULL::timestamp with time zone, scope text DEFAULT NULL::text, confirmed boolean DEFAULT false, key_column name DEFAULT ''id''::name, period_column name DEFAULT NULL::name, OUT valid boolean, OUT resolved_ids text[], OUT roster_hash text, OUT added text[], OUT removed text[]'),
	('claim_roster', 'source regclass, filter text, seen_ids anycompatiblearray, seen_hash text, at timestamp with time zone DEFAULT NULL::timestamp with time zone, scope text DEFAULT NULL::text, confirmed boolean DEFAULT false, key_column name DEFAULT ''id''::name, period_column name DEFAULT NULL::name, OUT resolved_ids text[], OUT roster_hash text, OUT added text[], OUT removed text[]')
) AS f(name, arguments) LEFT JOIN pg_proc AS p ON p.proname = name;
SELECT is(p.provolatile::text || '/' || p.proparallel::text, expected, name || ': volatility and parallel safety')
FROM (VALUES ('roster_hash', 's/s'), ('roster_hash_agg', 'i/s'), ('parse_filter', 'i/s'), ('resolve_roster', 's/r'),
	('validate_roster', 's/r'), ('claim_roster', 'v/u')) AS f(name, expected) LEFT JOIN pg_proc AS p ON p.proname = name;
SELECT ok(obj_description(p.oid, 'pg_proc') <> '', 'comment on ' || p.oid::regprocedure)
FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'petition_cas'
WHERE p.proname LIKE '%roster%' OR p.proname = 'parse_filter' ORDER BY p.oid;

-- the hash: test vectors of docs/rosters.md
SELECT is(roster_hash('{}'::uuid[]), '01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b', 'the empty set');
SELECT is(roster_hash('{10,9,-1}'::int[]), '819c2cd3732047cc91cc15a967fe6a1618a89e4f86354da3e2e0c1552453b367', 'numbers');
SELECT is(roster_hash('{b,a,b,ä}'::text[], 'north'), '2a9a0fdc28866dad2cf32920be0f271f9a1d27ccd308aca87b4314a2738834ca', 'texts with a scope');
SELECT is(roster_hash('{00000000-0000-0000-0000-00000000000B,00000000-0000-0000-0000-00000000000a}'::uuid[]),
	'ffd1f76ce1d5a902ade0e2a4bbcc527467fbbd0c192653d61093e7a800335662', 'uuids');
SELECT throws_ok('SELECT roster_hash(ARRAY[NULL::int])', '22004', NULL, 'no null ids');
SELECT throws_ok($$SELECT roster_hash(ARRAY[E'a\n'])$$, '22023', NULL, 'no newline in an id');

-- rosters
CREATE TABLE pg_temp.herd (id uuid PRIMARY KEY, name text, weight int, during tstzrange);
INSERT INTO pg_temp.herd SELECT md5(i::text)::uuid, 'n' || i, i, tstzrange('2026-01-01 UTC', NULL) FROM generate_series(1, 9) AS i;
SELECT resolved_ids AS ids, roster_hash AS hash FROM resolve_roster('pg_temp.herd', 'weight:<=3') \gset
SELECT is(:'ids'::text[], (SELECT array_agg(id::text ORDER BY id::text COLLATE "C") FROM pg_temp.herd WHERE weight <= 3), 'resolve: the ids, sorted');
SELECT is(:'hash'::text, (SELECT roster_hash_agg(id) FROM pg_temp.herd WHERE weight <= 3), 'resolve: their hash');
SELECT results_eq(format('SELECT * FROM validate_roster(%L, %L, %L, %L)', 'pg_temp.herd', 'weight:<=3', :'ids', :'hash'),
	format('VALUES (true, %L::text[], %L, ''{}''::text[], ''{}''::text[])', :'ids', :'hash'), 'validate: nothing has changed');
SELECT results_eq(format('SELECT * FROM claim_roster(%L, %L, %L, %L)', 'pg_temp.herd', 'weight:<=3', :'ids', :'hash'),
	format('VALUES (%L::text[], %L, ''{}''::text[], ''{}''::text[])', :'ids', :'hash'), 'claim: nothing has changed');
SELECT results_eq(format('SELECT valid, roster_hash, added, removed FROM validate_roster(%L, %L, NULL, %L)', 'pg_temp.herd', 'weight:<=3', :'hash'),
	format('VALUES (true, %L, NULL::text[], NULL::text[])', :'hash'), 'validate: by the hash alone');
UPDATE pg_temp.herd SET weight = 5 WHERE name = 'n3';
UPDATE pg_temp.herd SET weight = 1 WHERE name = 'n9';
SELECT results_eq(format('SELECT valid, added, removed FROM validate_roster(%L, %L, %L, %L)', 'pg_temp.herd', 'weight:<=3', :'ids', :'hash'),
	$$VALUES (false, ARRAY[md5('9')::uuid::text], ARRAY[md5('3')::uuid::text])$$, 'validate: changed');
SELECT results_eq(format('SELECT valid, added, removed FROM validate_roster(%L, %L, %L, %L, confirmed => true)', 'pg_temp.herd', 'weight:<=3', :'ids', :'hash'),
	$$VALUES (true, ARRAY[md5('9')::uuid::text], ARRAY[md5('3')::uuid::text])$$, 'validate: changed and confirmed');
SELECT throws_ok(format('SELECT claim_roster(%L, %L, %L, %L)', 'pg_temp.herd', 'weight:<=3', :'ids', :'hash'), 'PF005', NULL, 'claim: changed');
SELECT throws_ok(format('SELECT claim_roster(%L, %L, NULL, %L)', 'pg_temp.herd', 'weight:<=3', :'hash'), 'PF005', NULL, 'claim: changed, by the hash alone');
SELECT results_eq(format('SELECT added, removed FROM claim_roster(%L, %L, %L, %L, confirmed => true)', 'pg_temp.herd', 'weight:<=3', :'ids', :'hash'),
	$$VALUES (ARRAY[md5('9')::uuid::text], ARRAY[md5('3')::uuid::text])$$, 'claim: changed and confirmed');
SELECT throws_ok(format('SELECT validate_roster(%L, %L, %L, %L)', 'pg_temp.herd', 'weight:<=3', :'ids', 'other'), '22023', NULL, 'ids and hash that do not agree');
SELECT throws_ok(format('SELECT validate_roster(%L, %L, NULL, %L)', 'pg_temp.herd', 'weight:<=3', 'other'), '22023', NULL, 'a hash alone that is none');
SELECT throws_ok(format('SELECT validate_roster(%L, %L, %L, %L)', 'pg_temp.herd', 'weight:<=3', '{x}', 'other'), '22P02', NULL, 'ids that do not parse');

-- errors of the filter
SELECT throws_ok(format('SELECT resolve_roster(%L, %L)', 'pg_temp.herd', filter), code, NULL, filter)
FROM (VALUES ('weight', '42601'), ('weight:', '42601'), ('wait:1', '42703'), ('weight:x', '22P02'), ('during:>"(,)" weight:1 name:"', '42601')) AS f(filter, code);
CREATE TABLE pg_temp.odd (id int, doc json);
SELECT throws_ok($$SELECT resolve_roster('pg_temp.odd', 'doc:1')$$, '42883', NULL, 'no operator');
SELECT lives_ok($$SELECT resolve_roster('pg_temp.odd', 'doc:*')$$, 'field:* on any type');
SELECT throws_ok($$SELECT resolve_roster('pg_temp.herd', '', at => now())$$, '22023', NULL, 'at without period_column');
SELECT is(cardinality((resolve_roster('pg_temp.herd', '', at => '2025-01-01', period_column => 'during')).resolved_ids), 0, 'as of a moment');
CREATE VIEW pg_temp.both AS SELECT id FROM pg_temp.herd UNION ALL SELECT id FROM pg_temp.herd;
SELECT throws_ok($$SELECT claim_roster('pg_temp.both', '', '{}', roster_hash('{}'::uuid[]))$$, '0A000', NULL, 'a source that cannot be locked');

SELECT * FROM finish();
ROLLBACK;
