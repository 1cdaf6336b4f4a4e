-- claim_roster in one session: what it accepts, refuses and reports.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
RESET client_min_messages;

CREATE TABLE claim_place (id int PRIMARY KEY, name text);
CREATE TABLE claim_animal (id int PRIMARY KEY, place int REFERENCES claim_place, kind text, during tstzrange DEFAULT tstzrange(now() - interval '1 hour', NULL));
INSERT INTO claim_place VALUES (1, 'barn'), (2, 'pond');
INSERT INTO claim_animal SELECT i, 1 + i % 2, 'duck' FROM generate_series(1, 6) AS i;
CREATE FUNCTION claim_error(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	EXECUTE 'SELECT * FROM ' || call;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s: %s%s', SQLSTATE, message, ' ' || nullif(detail, ''));
END $$;

-- unchanged, changed, confirmed
SELECT c.* FROM resolve_roster('claim_animal', 'place:1') AS r, claim_roster('claim_animal', 'place:1', resolved_ids, roster_hash) AS c;
SELECT c.* FROM resolve_roster('claim_animal', 'place:1') AS r, claim_roster('claim_animal', 'place:2', resolved_ids, roster_hash) AS c;
\echo :LAST_ERROR_SQLSTATE
SELECT c.* FROM resolve_roster('claim_animal', 'place:1') AS r, claim_roster('claim_animal', 'place:2', resolved_ids, roster_hash, confirmed => true) AS c;
-- the DETAIL is JSON, with at most 100 ids each way but all counted
CREATE TABLE claim_many AS SELECT i AS id FROM generate_series(1, 250) AS i;
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM claim_roster('claim_many', 'id:<=240', '{a"b\c,999}', roster_hash('{a"b\c,999}'::text[]), key_column => 'id');
EXCEPTION WHEN invalid_text_representation THEN
	BEGIN
		PERFORM claim_roster('claim_many', 'id:<=240', '{998,999,1}', roster_hash('{998,999,1}'::text[]));
	EXCEPTION WHEN SQLSTATE 'PF005' THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RAISE NOTICE 'keys % added % of % removed %', (SELECT array_agg(k) FROM json_object_keys(detail::json) AS k),
			json_array_length(detail::json -> 'added'), detail::json ->> 'added_count', detail::json -> 'removed';
	END;
END $$;
-- with a period
SELECT resolved_ids FROM claim_roster('claim_animal', 'place:1', '{2}', roster_hash('{2}'::int[]), confirmed => true, period_column => 'during');
SELECT resolved_ids FROM claim_roster('claim_animal', 'place:1', '{}', roster_hash('{}'::int[]), period_column => 'during', at => '2020-01-01');
-- the members are locked, the others are not
CREATE TABLE claim_fresh AS SELECT i AS id, i % 2 AS place FROM generate_series(1, 6) AS i;
SELECT resolved_ids FROM claim_roster('claim_fresh', 'place:0', '{2,4,6}', roster_hash('{2,4,6}'::int[]));
SELECT array_agg(id ORDER BY id) AS locked FROM claim_fresh WHERE xmax <> 0;
-- every key column that has an order; no other
SELECT claim_error($$claim_roster('claim_animal', '', '{}', roster_hash('{}'::int[]), key_column => 'kind')$$);
CREATE TABLE claim_point (id point);
SELECT claim_error($$claim_roster('claim_point', '', '{}', roster_hash('{}'::int[]))$$);

-- views whose rows can be locked
CREATE VIEW claim_joined AS SELECT a.id, p.name, a.kind FROM claim_animal AS a JOIN claim_place AS p ON p.id = a.place;
CREATE VIEW claim_nested AS SELECT id, name FROM claim_joined WHERE kind = 'duck';
CREATE VIEW claim_subquery AS SELECT s.id FROM (SELECT id FROM claim_animal WHERE place = 1) AS s, (VALUES (1)) AS v(one);
CREATE VIEW claim_function AS SELECT a.id, t AS tag FROM claim_animal AS a, unnest(ARRAY[a.kind]) AS t;
SELECT max(xmax::text::bigint) AS before FROM claim_place \gset
SELECT source, resolved_ids FROM unnest('{claim_joined,claim_nested,claim_subquery,claim_function}'::regclass[]) AS source,
	claim_roster(source, '', '{1}', roster_hash('{1}'::int[]), confirmed => true);
SELECT count(*) AS places_locked FROM claim_place WHERE xmax::text::bigint > :before;

-- and those whose rows cannot
CREATE VIEW claim_union AS SELECT id FROM claim_animal UNION ALL SELECT id FROM claim_place;
CREATE VIEW claim_intersect AS SELECT id FROM claim_animal INTERSECT SELECT id FROM claim_place;
CREATE VIEW claim_except AS SELECT id FROM claim_animal EXCEPT SELECT id FROM claim_place;
CREATE VIEW claim_distinct AS SELECT DISTINCT id FROM claim_animal;
CREATE VIEW claim_distinct_on AS SELECT DISTINCT ON (place) id FROM claim_animal ORDER BY place, id;
CREATE VIEW claim_grouped AS SELECT place AS id FROM claim_animal GROUP BY place;
CREATE VIEW claim_sets AS SELECT place AS id FROM claim_animal GROUP BY GROUPING SETS (place);
CREATE VIEW claim_aggregate AS SELECT max(id) AS id FROM claim_animal;
CREATE VIEW claim_having AS SELECT 1 AS id FROM claim_animal HAVING true;
CREATE VIEW claim_window AS SELECT row_number() OVER () AS id FROM claim_animal;
CREATE VIEW claim_set_returning AS SELECT generate_series(1, id) AS id FROM claim_animal;
CREATE VIEW claim_limit AS SELECT id FROM claim_animal LIMIT 3;
CREATE VIEW claim_offset AS SELECT id FROM claim_animal OFFSET 3;
CREATE VIEW claim_with AS WITH w AS (SELECT id FROM claim_animal) SELECT id FROM w;
CREATE VIEW claim_exists AS SELECT id FROM claim_animal AS a WHERE EXISTS (SELECT FROM claim_place AS p WHERE p.id = a.place);
CREATE VIEW claim_left AS SELECT a.id FROM claim_animal AS a LEFT JOIN claim_place AS p ON p.id = a.place;
CREATE VIEW claim_full AS SELECT a.id FROM claim_animal AS a FULL JOIN claim_place AS p ON p.id = a.place;
CREATE VIEW claim_sample AS SELECT id FROM claim_animal TABLESAMPLE system (100);
CREATE VIEW claim_random AS SELECT id FROM claim_animal WHERE random() < 0.5;
CREATE VIEW claim_values AS SELECT * FROM (VALUES (1)) AS v(id);
CREATE VIEW claim_series AS SELECT id FROM generate_series(1, 3) AS id;
CREATE VIEW claim_nothing AS SELECT 1 AS id;
CREATE SEQUENCE claim_numbers;
CREATE VIEW claim_sequence AS SELECT last_value AS id FROM claim_numbers;
CREATE VIEW claim_deep AS SELECT s.id FROM (SELECT u.id FROM claim_animal AS a JOIN claim_union AS u ON u.id = a.id) AS s;
CREATE VIEW claim_inner AS SELECT s.id FROM claim_place AS p JOIN (SELECT DISTINCT id FROM claim_animal) AS s ON s.id = p.id;
CREATE MATERIALIZED VIEW claim_stored AS SELECT id FROM claim_animal;
CREATE FOREIGN DATA WRAPPER claim_wrapper;
CREATE SERVER claim_server FOREIGN DATA WRAPPER claim_wrapper;
CREATE FOREIGN TABLE claim_foreign (id int) SERVER claim_server;
CREATE TABLE claim_parts (id int) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE claim_parts_1 PARTITION OF claim_parts FOR VALUES FROM (1) TO (9) SERVER claim_server;
SELECT relname, claim_error(format($$claim_roster(%L, '', '{}', roster_hash('{}'::int[]))$$, relname))
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'claim\_%' AND relkind IN ('v', 'm', 'f', 'p')
	AND relname NOT IN ('claim_joined', 'claim_nested', 'claim_subquery', 'claim_function', 'claim_parts_1')
ORDER BY oid;
SELECT claim_roster('claim_union', '', '{}', roster_hash('{}'::int[]));

-- privileges: UPDATE is needed, and row security's policies for UPDATE count
CREATE ROLE regress_roster_user;
GRANT SELECT ON claim_animal TO regress_roster_user;
SET ROLE regress_roster_user;
SELECT claim_error($$claim_roster('claim_animal', '', '{}', roster_hash('{}'::int[]))$$);
RESET ROLE;
GRANT UPDATE ON claim_animal TO regress_roster_user;
ALTER TABLE claim_animal ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON claim_animal FOR SELECT USING (id < 6);
CREATE POLICY change ON claim_animal FOR UPDATE USING (id < 4);
SET ROLE regress_roster_user;
SELECT resolved_ids FROM resolve_roster('claim_animal', '');
SELECT resolved_ids FROM claim_roster('claim_animal', 'id:<4', '{1,2,3}', roster_hash('{1,2,3}'::int[]));
SELECT claim_error($$claim_roster('claim_animal', 'id:>1', '{2,3,4,5}', roster_hash('{2,3,4,5}'::int[]))$$);
SELECT claim_error($$claim_roster('claim_animal', 'id:>1', '{2,3}', roster_hash('{2,3}'::int[]), confirmed => true)$$);
RESET ROLE;

-- read-only transactions and each isolation level
BEGIN READ ONLY;
SELECT claim_roster('claim_animal', 'id:1', '{1}', roster_hash('{1}'::int[]));
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT resolved_ids FROM claim_roster('claim_animal', 'id:1', '{1}', roster_hash('{1}'::int[]));
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT resolved_ids FROM claim_roster('claim_animal', 'id:1', '{1}', roster_hash('{1}'::int[]));
COMMIT;

-- claim, then act
BEGIN;
SELECT resolved_ids AS claimed FROM claim_roster('claim_animal', 'place:2 id:<=3', '{1,3}', roster_hash('{1,3}'::int[])) \gset
UPDATE claim_animal SET place = 1 WHERE id = ANY (:'claimed'::int[]) RETURNING id;
COMMIT;

SET client_min_messages = warning;
DROP FOREIGN DATA WRAPPER claim_wrapper CASCADE;
DROP TABLE claim_animal, claim_place, claim_many, claim_fresh, claim_point, claim_parts CASCADE;
DROP VIEW claim_values, claim_series, claim_nothing, claim_sequence;
DROP SEQUENCE claim_numbers;
DROP FUNCTION claim_error(text);
DROP ROLE regress_roster_user;
