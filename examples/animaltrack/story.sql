-- The story of two clients, for psql.  Load animaltrack.sql first.
--
-- Each step is a transaction of its own.  The moments are given, so that the
-- story does not depend on the clock: A looks, B moves a second later, A
-- submits a second after that.

\set ON_ERROR_STOP on
\pset null -
SELECT now() AS t1, now() + interval '1 second' AS t2, now() + interval '2 seconds' AS t3 \gset
INSERT INTO animaltrack.locations (name) VALUES ('Strip 1'), ('Strip 2'), ('Nursery 1');
SELECT id AS strip1 FROM animaltrack.locations WHERE name = 'Strip 1' \gset
SELECT id AS strip2 FROM animaltrack.locations WHERE name = 'Strip 2' \gset
SELECT id AS nursery1 FROM animaltrack.locations WHERE name = 'Nursery 1' \gset
SELECT count(*) AS moves_before FROM animaltrack.events WHERE type = 'AnimalMoved' \gset

\echo Five ducks on Strip 1, three on Strip 2.
SELECT type, payload ->> 'count' AS count FROM animaltrack.create_cohort('duck', 5, 'adult', 'female',
	:'strip1', 'purchased', timestamptz :'t1' - interval '1 day', 'farmer');
SELECT type, payload ->> 'count' AS count FROM animaltrack.create_cohort('duck', 3, 'adult', 'female',
	:'strip2', 'purchased', timestamptz :'t1' - interval '1 day', 'farmer');

\echo Client A looks at Strip 1 and sees five.
SELECT resolved_ids AS seen_ids, roster_hash AS seen_hash, cardinality(resolved_ids) AS seen_count
FROM resolve_roster('animaltrack.animal_roster', 'location:"Strip 1"',
	at => :'t1', scope => :'strip1', period_column => 'during') \gset
\echo :seen_count animals, hash :seen_hash

\echo Client B moves two of them to Strip 2.
SELECT type, actor, jsonb_array_length(entity_refs -> 'animal_ids') AS animals
FROM animaltrack.move_animals((:'seen_ids'::uuid[])[1:2], :'strip2', :'t2', 'client B');

\echo Client A submits a move of what it saw to Nursery 1, and is refused:
\set ON_ERROR_STOP off
SELECT * FROM animaltrack.move_roster('location:"Strip 1"', :'seen_ids', :'seen_hash',
	:'strip1', :'nursery1', :'t3', 'client A');
\echo SQLSTATE :LAST_ERROR_SQLSTATE
\set ON_ERROR_STOP on

\echo What client A is shown:
SELECT valid, cardinality(resolved_ids) AS now, roster_hash, added, removed
FROM validate_roster('animaltrack.animal_roster', 'location:"Strip 1"', :'seen_ids', :'seen_hash',
	at => :'t3', scope => :'strip1', period_column => 'during');

\echo Client A confirms, and the remaining three move.
SELECT type, actor, jsonb_array_length(entity_refs -> 'animal_ids') AS animals
FROM animaltrack.move_roster('location:"Strip 1"', :'seen_ids', :'seen_hash',
	:'strip1', :'nursery1', :'t3', 'client A', confirmed => true);

\echo In the end:
SELECT l.name AS location, count(v.animal_id) FILTER (WHERE v.sex = 'female') AS females
FROM animaltrack.locations AS l LEFT JOIN animaltrack.live_animals_by_location AS v ON v.location_id = l.id
GROUP BY l.name ORDER BY l.name;
SELECT count(*) - :moves_before AS moves FROM animaltrack.events WHERE type = 'AnimalMoved';
