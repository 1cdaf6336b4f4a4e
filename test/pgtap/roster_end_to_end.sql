-- The roster's end-to-end scenario on animaltrack: the seven checks of the
-- test "optimistic locking with confirm", each on a farm of its own.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS petition_cas;
\ir ../../examples/animaltrack/animaltrack.sql

SELECT plan(32);

INSERT INTO animaltrack.locations (name) VALUES ('Strip 1'), ('Strip 2'), ('Nursery 1');
SELECT id AS strip1 FROM animaltrack.locations WHERE name = 'Strip 1' \gset
SELECT id AS strip2 FROM animaltrack.locations WHERE name = 'Strip 2' \gset
SELECT id AS nursery1 FROM animaltrack.locations WHERE name = 'Nursery 1' \gset
SELECT clock_timestamp() AS t1, clock_timestamp() + interval '1 s' AS t2, clock_timestamp() + interval '2 s' AS t3 \gset

-- five adult female ducks on Strip 1, three on Strip 2, since yesterday
SELECT is(cohort.type, 'AnimalCohortCreated'::text, 'a cohort is an event')
FROM animaltrack.create_cohort('duck', 5, 'adult', 'female', :'strip1', 'purchased', timestamptz :'t1' - interval '1 day', 'test_user') AS cohort;
SELECT entity_refs ->> 'animal_ids' AS cohort2
FROM animaltrack.create_cohort('duck', 3, 'adult', 'female', :'strip2', 'purchased', timestamptz :'t1' - interval '1 day', 'test_user') \gset
SELECT is(jsonb_array_length(:'cohort2'::jsonb), 3, 'entity_refs have the ids of the cohort');

-- what client A sees, and what client B then does
CREATE FUNCTION pg_temp.a_resolves(strip uuid, at timestamptz, OUT resolved_ids text[], OUT roster_hash text)
LANGUAGE sql AS $$
	SELECT * FROM resolve_roster('animaltrack.animal_roster', 'location:"Strip 1"', at => at,
		scope => strip::text, period_column => 'during')
$$;
CREATE FUNCTION pg_temp.validated(ids text[], hash text, strip uuid, at timestamptz, confirmed boolean,
	OUT valid boolean, OUT resolved_ids text[], OUT roster_hash text, OUT added text[], OUT removed text[])
LANGUAGE sql AS $$
	SELECT * FROM validate_roster('animaltrack.animal_roster', 'location:"Strip 1"', ids, hash, at => at,
		scope => strip::text, confirmed => confirmed, period_column => 'during')
$$;
CREATE FUNCTION pg_temp.females(place uuid) RETURNS bigint
LANGUAGE sql AS $$
	SELECT count(*) FROM animaltrack.live_animals_by_location WHERE location_id = place AND sex = 'female'
$$;
SELECT resolved_ids AS ids, roster_hash AS hash FROM pg_temp.a_resolves(:'strip1', :'t1') \gset
SELECT (:'ids'::uuid[])[1:2] AS two \gset
SAVEPOINT scenario;

-- 1: client A's initial resolution
SELECT is(cardinality(:'ids'::text[]), 5, '1: client A resolves five animals');
SELECT matches(:'hash'::text, '^[0-9a-f]{64}$', '1: and a hash');
SELECT is(:'hash'::text, encode(sha256(convert_to(:'strip1' || E'\n' || (SELECT string_agg(id || E'\n', '' ORDER BY id COLLATE "C")
	FROM unnest(:'ids'::text[]) AS id), 'UTF8')), 'hex'), '1: which is that of the definition');

-- 2: a concurrent move causes a mismatch
SELECT is(moved.type, 'AnimalMoved', '2: client B moves two')
FROM animaltrack.move_animals(:'two', :'strip2', :'t2', 'client_b') AS moved;
SELECT ok(NOT valid, '2: client A''s roster is not valid any more') FROM pg_temp.validated(:'ids', :'hash', :'strip1', :'t3', false);
SELECT is(removed, :'two'::text[], '2: two are removed') FROM pg_temp.validated(:'ids', :'hash', :'strip1', :'t3', false);
SELECT is(added, '{}'::text[], '2: none is added') FROM pg_temp.validated(:'ids', :'hash', :'strip1', :'t3', false);
ROLLBACK TO scenario;

-- 3: confirmed, the move proceeds with the remaining animals
SELECT FROM animaltrack.move_animals(:'two', :'strip2', :'t2', 'client_b');
SELECT ok(valid, '3: confirmed, it is valid') FROM pg_temp.validated(:'ids', :'hash', :'strip1', :'t3', true);
SELECT is(cardinality(resolved_ids), 3, '3: three are left') FROM pg_temp.validated(:'ids', :'hash', :'strip1', :'t3', true);
SELECT is(jsonb_array_length(moved.entity_refs -> 'animal_ids'), 3, '3: and move')
FROM animaltrack.move_roster('location:"Strip 1"', :'ids', :'hash', :'strip1', :'nursery1', :'t3', 'client_a', confirmed => true) AS moved;
SELECT is(pg_temp.females(:'strip1'), 0::bigint, '3: Strip 1 is empty');
ROLLBACK TO scenario;

-- 4: the final state after both moves
SELECT FROM animaltrack.move_animals(:'two', :'strip2', :'t2', 'client_b');
SELECT FROM animaltrack.move_roster('location:"Strip 1"', :'ids', :'hash', :'strip1', :'nursery1', :'t3', 'client_a', confirmed => true);
SELECT is(pg_temp.females(:'strip1'), 0::bigint, '4: Strip 1 has none');
SELECT is(pg_temp.females(:'strip2'), 5::bigint, '4: Strip 2 has five');
SELECT is(pg_temp.females(:'nursery1'), 3::bigint, '4: Nursery 1 has three');
SELECT is((SELECT count(*) FROM pg_temp.a_resolves(:'strip1', :'t1') AS r, unnest(r.resolved_ids)), 5::bigint,
	'4: as of when client A looked, Strip 1 still has five');
ROLLBACK TO scenario;

-- 5: two move events
SELECT count(*) AS events_before FROM animaltrack.events WHERE type = 'AnimalMoved' \gset
SELECT FROM animaltrack.move_animals(:'two', :'strip2', :'t2', 'client_b');
SELECT FROM animaltrack.move_roster('location:"Strip 1"', :'ids', :'hash', :'strip1', :'nursery1', :'t3', 'client_a', confirmed => true);
SELECT is(count(*) - :events_before, 2::bigint, '5: two AnimalMoved events') FROM animaltrack.events WHERE type = 'AnimalMoved';
SELECT results_eq($$SELECT actor, jsonb_array_length(entity_refs -> 'animal_ids') FROM animaltrack.events WHERE type = 'AnimalMoved' ORDER BY at$$,
	$$VALUES ('client_b', 2), ('client_a', 3)$$, '5: of two and of three animals');
SELECT throws_ok('UPDATE animaltrack.events SET actor = ''nobody''', '23001', NULL, '5: which nobody changes');
SELECT throws_ok('DELETE FROM animaltrack.events', '23001', NULL, '5: or deletes');
ROLLBACK TO scenario;

-- 6: without confirmation the move fails on a mismatch
SELECT FROM animaltrack.move_animals(:'two', :'strip2', :'t2', 'client_b');
SELECT throws_ok(format('SELECT animaltrack.move_roster(%L, %L, %L, %L, %L, %L, %L)', 'location:"Strip 1"', :'ids', :'hash',
	:'strip1', :'nursery1', :'t3', 'client_a'), 'PF005', NULL, '6: the move is refused');
SELECT is(pg_temp.females(:'strip1'), 3::bigint, '6: and nothing moved');
ROLLBACK TO scenario;

-- 7: the difference comes with the new ids and their hash
SELECT FROM animaltrack.move_animals(:'two', :'strip2', :'t2', 'client_b');
SELECT is(cardinality(resolved_ids), 3, '7: the ids as they are now') FROM pg_temp.validated(:'ids', :'hash', :'strip1', :'t3', false);
SELECT isnt(roster_hash, :'hash', '7: another hash') FROM pg_temp.validated(:'ids', :'hash', :'strip1', :'t3', false);
SELECT resolved_ids AS new_ids, roster_hash AS new_hash FROM pg_temp.validated(:'ids', :'hash', :'strip1', :'t3', false) \gset
SELECT is(:'new_hash', roster_hash(:'new_ids'::uuid[], :'strip1'), '7: that of the new ids');
SELECT ok(valid, '7: which may be submitted in place of a confirmation') FROM pg_temp.validated(:'new_ids', :'new_hash', :'strip1', :'t3', false);
SELECT is(jsonb_array_length(moved.entity_refs -> 'animal_ids'), 3, '7: and moves three')
FROM animaltrack.move_roster('location:"Strip 1"', :'new_ids', :'new_hash', :'strip1', :'nursery1', :'t3', 'client_a') AS moved;
ROLLBACK TO scenario;

-- what the application refuses
SELECT throws_ok(format('SELECT animaltrack.move_animals(%L, %L, %L, %L)', :'ids', :'strip2', timestamptz :'t1' - interval '2 days', 'x'),
	'55000', NULL, 'animals are not moved before they were there');
SELECT throws_ok(format('SELECT animaltrack.move_animals(%L, %L, %L, %L)', '{}', :'strip2', :'t2', 'x'), 'P0002', NULL, 'no animals, no move');
SELECT throws_ok(format('SELECT animaltrack.create_cohort(%L, 0, %L, %L, %L, %L, %L, %L)', 'duck', 'adult', 'female', :'strip1', 'hatched', :'t1', 'x'),
	'22023', NULL, 'no cohort without animals');
SELECT throws_ok(format('INSERT INTO animaltrack.animal_location VALUES (%L, %L, tstzrange(now(), NULL))', (:'ids'::uuid[])[1], :'strip2'),
	'23P01', NULL, 'no animal in two places');

SELECT * FROM finish();
ROLLBACK;
