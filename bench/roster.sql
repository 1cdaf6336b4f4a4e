-- Rosters against the SQL that a competent user writes, on 1,000,000 ids.
--
--   psql -X -f bench/roster.sql a_database
--   psql -X -v rows=100000 -v rounds=15 -v work_mem=64MB -f bench/roster.sql a_database
--
-- Makes a schema roster_bench and drops it again.  In each round every
-- contender runs once; times are medians over the rounds, ratios are medians of
-- the rounds' ratios.  A time is that of the executor, as EXPLAIN ANALYZE gives
-- it: parsing and sending a million ids is the same for all.  It is not for claims,
-- whose times are those from the request on.  Memory is the backend's, from /proc, so
-- that part needs Linux and a superuser.

\set ON_ERROR_STOP on
\if :{?rows}
\else
	\set rows 1000000
\endif
\if :{?rounds}
\else
	\set rounds 7
\endif
\if :{?work_mem}
\else
	\set work_mem 256MB
\endif
\pset footer off
SET client_min_messages = warning;
SET jit = off;
SET work_mem = :'work_mem';
CREATE EXTENSION IF NOT EXISTS petition_cas;
DROP SCHEMA IF EXISTS roster_bench CASCADE;
CREATE SCHEMA roster_bench;
SET search_path = roster_bench, public;

-- Half of the herd is here, and an index knows which half.
CREATE UNLOGGED TABLE herd AS
SELECT gen_random_uuid() AS id, CASE WHEN i % 2 = 0 THEN 'here' ELSE 'there' END AS place
FROM generate_series(1, 2 * :rows) AS i;
CREATE INDEX ON herd (place, id);
CREATE UNLOGGED TABLE herd_here AS SELECT id FROM herd WHERE place = 'here';
CREATE UNLOGGED TABLE herd_1000 AS SELECT id, place FROM herd WHERE place = 'here' LIMIT 1000;
VACUUM ANALYZE herd, herd_here, herd_1000;

-- What a client saw: ids in no order; and the same but for ten, and ten others.
CREATE TABLE seen (name text PRIMARY KEY, ids text[], uuids uuid[], hash text);
INSERT INTO seen SELECT 'same', array_agg(id::text), array_agg(id), roster_hash_agg(id) FROM herd_here;
INSERT INTO seen SELECT 'sorted', array_agg(id::text), array_agg(id), roster_hash_agg(id)
FROM (SELECT id FROM herd_here ORDER BY id) AS s;
INSERT INTO seen SELECT 'changed', array_agg(id::text), array_agg(id), roster_hash_agg(id)
FROM ((SELECT id FROM herd_here OFFSET 10) UNION ALL (SELECT id FROM herd WHERE place = 'there' LIMIT 10)) AS s;
INSERT INTO seen SELECT '1000', array_agg(id::text), array_agg(id), roster_hash_agg(id) FROM herd_1000;

-- $1 are ids as text, $2 is their hash, $3 are the ids as uuids.
CREATE TABLE contender (nr int PRIMARY KEY, name text, seen text, query text);
INSERT INTO contender VALUES
(1, 'roster_hash_agg', 'same', 'SELECT roster_hash_agg(id) FROM herd_here'),
(2, 'string_agg, sha256', 'same', $$
	SELECT encode(sha256(convert_to(E'\n' || string_agg(id || E'\n', '' ORDER BY id), 'UTF8')), 'hex') FROM herd_here $$),
(3, 'roster_hash(array)', 'same', 'SELECT roster_hash($3)'),
(4, 'roster_hash(sorted array)', 'sorted', 'SELECT roster_hash($3)'),
(5, 'unnest, string_agg, sha256', 'same', $$
	SELECT encode(sha256(convert_to(E'\n' || string_agg(id || E'\n', '' ORDER BY id), 'UTF8')), 'hex') FROM unnest($3) AS id $$),
(6, 'validate_roster, changed', 'changed', $$ SELECT * FROM validate_roster('herd', 'place:here', $1, $2) $$),
(7, 'validate_roster, same', 'same', $$ SELECT * FROM validate_roster('herd', 'place:here', $1, $2) $$),
(8, 'resolve_roster', 'same', $$ SELECT * FROM resolve_roster('herd', 'place:here') $$),
(9, 'FULL JOIN, array_agg, sha256', 'changed', $$
	SELECT array_agg(n.id ORDER BY n.id) FILTER (WHERE n.id IS NOT NULL) AS resolved_ids,
		encode(sha256(convert_to(E'\n' || string_agg(n.id || E'\n', '' ORDER BY n.id), 'UTF8')), 'hex') AS roster_hash,
		array_agg(n.id) FILTER (WHERE s.id IS NULL) AS added,
		array_agg(s.id) FILTER (WHERE n.id IS NULL) AS removed
	FROM (SELECT id FROM herd WHERE place = 'here') AS n FULL JOIN unnest($3) AS s(id) ON s.id = n.id $$),
(10, 'FULL JOIN alone', 'changed', $$
	SELECT n.id, s.id FROM (SELECT id FROM herd WHERE place = 'here') AS n FULL JOIN unnest($3) AS s(id) ON s.id = n.id
	WHERE n.id IS NULL OR s.id IS NULL $$),
(11, 'bare query', 'same', $$ SELECT id FROM herd WHERE place = 'here' $$),
(12, 'validate_roster of 1000', '1000', $$ SELECT * FROM validate_roster('herd_1000', 'place:here', $1, $2) $$),
(13, 'bare query of 1000', '1000', $$ SELECT id FROM herd_1000 WHERE place = 'here' $$);

CREATE TABLE result (round int, nr int, ms float8);

-- Runs a contender once.  Concatenation makes plain arrays of plpgsql's.
CREATE PROCEDURE measure(round int, contender contender, seen seen) LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ' || contender.query
	INTO plan USING seen.ids || '{}'::text[], seen.hash, seen.uuids || '{}'::uuid[];
	INSERT INTO result VALUES (round, contender.nr, (plan -> 0 ->> 'Execution Time')::float8);
END $$;

SELECT set_config('roster_bench.rounds', :'rounds', false) \gset ignored_
DO $$
DECLARE
	c contender;
	s seen;
BEGIN
	FOR round IN 0..current_setting('roster_bench.rounds')::int LOOP
		FOR c IN SELECT * FROM contender ORDER BY nr LOOP
			SELECT * INTO s FROM seen WHERE name = c.seen;
			CALL measure(round, c, s);
		END LOOP;
	END LOOP;
END $$;
DELETE FROM result WHERE round = 0;	-- which warms the caches

SELECT c.name, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY r.ms)::numeric, 2) AS ms,
	round(min(r.ms)::numeric, 2) AS least, round(max(r.ms)::numeric, 2) AS most
FROM result AS r JOIN contender AS c USING (nr) GROUP BY c.nr, c.name ORDER BY c.nr;

SELECT a.name AS this, b.name AS "against that",
	round((percentile_cont(0.5) WITHIN GROUP (ORDER BY rb.ms / ra.ms))::numeric, 1) AS times, goal
FROM (VALUES (1, 2, '7'), (3, 5, '14'), (4, 5, ''), (6, 9, '10'), (7, 9, ''), (6, 10, '')) AS p(this, that, goal)
JOIN contender AS a ON a.nr = p.this JOIN contender AS b ON b.nr = p.that
JOIN result AS ra ON ra.nr = p.this JOIN result AS rb ON rb.nr = p.that AND rb.round = ra.round
GROUP BY p.this, p.that, a.name, b.name, goal ORDER BY p.this, p.that;

SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ra.ms - rb.ms)::numeric, 3) AS "validate_roster of 1000, ms over the bare query", '< 1' AS goal
FROM result AS ra JOIN result AS rb USING (round) WHERE ra.nr = 12 AND rb.nr = 13;

-- Claims, with ids and by the hash alone, in turn.  Each is a transaction that is
-- rolled back; psql sends the ids as they stand in a statement.
CREATE UNLOGGED TABLE claim_result (round int, nr int, name text, begun timestamptz, ms float8);
CREATE VIEW claim_request AS
SELECT round, nr, c.name, format($$ SELECT cardinality(resolved_ids) FROM claim_roster('herd', 'place:here', %s, %L) $$, c.ids, hash) AS request
FROM seen, generate_series(0, current_setting('roster_bench.rounds')::int) AS round,
	LATERAL (VALUES (1, 'claim_roster with ids', quote_literal(seen.ids)), (2, 'claim_roster by the hash alone', 'NULL')) AS c(nr, name, ids)
WHERE seen.name = 'same';
\o /dev/null
SELECT format('INSERT INTO claim_result VALUES (%s, %s, %L, clock_timestamp())', round, nr, name), 'BEGIN', request, 'ROLLBACK',
	format('UPDATE claim_result SET ms = extract(epoch FROM clock_timestamp() - begun) * 1000 WHERE round = %s AND nr = %s', round, nr)
FROM claim_request ORDER BY round, nr \gexec
\o
DELETE FROM claim_result WHERE round = 0;

SELECT c.name, c.bytes AS "bytes of the request", round(percentile_cont(0.5) WITHIN GROUP (ORDER BY r.ms)::numeric, 2) AS ms,
	round(min(r.ms)::numeric, 2) AS least, round(max(r.ms)::numeric, 2) AS most
FROM claim_result AS r JOIN (SELECT nr, name, octet_length(request) AS bytes FROM claim_request WHERE round = 0) AS c USING (nr)
GROUP BY c.nr, c.name, c.bytes ORDER BY c.nr;

SELECT round((percentile_cont(0.5) WITHIN GROUP (ORDER BY h.ms / i.ms))::numeric, 2) AS "claim by the hash alone, of one with ids", '<= 0.8' AS goal
FROM claim_result AS h JOIN claim_result AS i USING (round) WHERE h.nr = 2 AND i.nr = 1;

-- The most memory that the backend takes for a validation, the argument included;
-- but not the copies that PL/pgSQL makes of it, which a call that does nothing
-- has as well.
\connect
SET search_path = roster_bench, public;
SET jit = off;
CREATE FUNCTION memory(key text) RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT substring(pg_read_file('/proc/self/status') FROM key || ':\s*(\d+)')::bigint
$$;
DO $$
DECLARE
	ids text[];
	hash text;
	peak bigint[];
	call text;
BEGIN
	SELECT s.ids, s.hash INTO ids, hash FROM seen AS s WHERE name = 'changed';
	PERFORM FROM validate_roster('herd', 'place:here', ids, hash);	-- the table comes into shared memory
	FOREACH call IN ARRAY ARRAY['SELECT cardinality($1), $2', 'SELECT FROM validate_roster(''herd'', ''place:here'', $1, $2)',
		'SELECT FROM validate_roster(''herd'', ''place:here'', NULL, $2)'] LOOP
		COPY (SELECT 5) TO '/proc/self/clear_refs';	-- forgets the peak
		EXECUTE call USING ids, hash;
		peak := peak || memory('VmHWM') / 1024;
	END LOOP;
	RAISE INFO 'validate_roster takes % MB, by the hash alone % MB', peak[2] - peak[1] + pg_column_size(ids) / 1024 / 1024, peak[3] - peak[1];
END $$;
SET client_min_messages = warning;
DROP SCHEMA roster_bench CASCADE;
