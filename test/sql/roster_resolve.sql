-- resolve_roster and validate_roster: sources, key types, moments, errors.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
RESET client_min_messages;

CREATE TABLE roster_animal (id int PRIMARY KEY, code text, who uuid, big bigint, small smallint,
	stamp timestamptz, kind text, during tstzrange);
INSERT INTO roster_animal
SELECT i, 'c' || i, md5(i::text)::uuid, i * 10000000000, i, timestamptz '2026-01-01 00:00+00' + i * interval '1 hour',
	CASE WHEN i % 2 = 0 THEN 'duck' ELSE 'goose' END,
	tstzrange('2026-01-01 00:00+00', CASE WHEN i < 3 THEN timestamptz '2026-02-01 00:00+00' END)
FROM generate_series(1, 6) AS i;

-- each key type; ids come sorted bytewise
SELECT key, r.resolved_ids, r.roster_hash = roster_hash(r.resolved_ids) AS hash
FROM unnest('{id,code,who,big,small,stamp,kind}'::name[]) WITH ORDINALITY AS k(key, nr),
	resolve_roster('roster_animal', 'id:>3', key_column => key) AS r
ORDER BY nr;
INSERT INTO roster_animal (id, kind) VALUES (10, 'hen'), (-7, 'hen');
SELECT resolved_ids FROM resolve_roster('roster_animal', 'kind:hen|goose');
SELECT * FROM resolve_roster('roster_animal', 'kind:cow', scope => 'barn');
SELECT roster_hash = roster_hash('{-7,10}'::int[], 'barn') AS scoped FROM resolve_roster('roster_animal', 'kind:hen', scope => 'barn');

-- a view, a partitioned table, a materialized view as source
CREATE VIEW roster_ducks AS SELECT a.id, a.kind, k.legs FROM roster_animal a JOIN (VALUES ('duck', 2)) AS k(kind, legs) USING (kind);
CREATE MATERIALIZED VIEW roster_stored AS SELECT * FROM roster_ducks;
CREATE TABLE roster_parts (id int, region text) PARTITION BY LIST (region);
CREATE TABLE roster_parts_n PARTITION OF roster_parts FOR VALUES IN ('n');
CREATE TABLE roster_parts_s PARTITION OF roster_parts FOR VALUES IN ('s');
INSERT INTO roster_parts VALUES (1, 'n'), (2, 's'), (2, 'n');
SELECT source, resolved_ids FROM unnest('{roster_ducks,roster_stored,roster_parts}'::regclass[]) AS source, resolve_roster(source, '');
SELECT resolved_ids FROM resolve_roster('roster_ducks', 'legs:2 kind:duck -id:4');

-- as of a moment
SELECT at, resolved_ids
FROM unnest('{2025-12-31,2026-01-01 00:00+00,2026-01-31 12:00+00,2026-02-01 00:00+00,2036-01-01}'::timestamptz[]) AS at,
	resolve_roster('roster_animal', 'kind:duck|goose', at => at, period_column => 'during') ORDER BY at;
SELECT resolved_ids FROM resolve_roster('roster_animal', 'kind:duck', period_column => 'during');

-- validate: the same, in any order, with duplicates and in upper case
CREATE FUNCTION seen_hash(ids text[]) RETURNS text RETURN roster_hash(ids);
SELECT v.* FROM validate_roster('roster_animal', 'id:4..5', '{5,4,5}', seen_hash('{4,5}')) AS v;
SELECT v.valid FROM resolve_roster('roster_animal', 'id:4', key_column => 'who') AS r,
	validate_roster('roster_animal', 'id:4', ARRAY[upper(resolved_ids[1]), '{' || resolved_ids[1] || '}'], roster_hash, key_column => 'who') AS v;
-- every character at every place of a uuid is read, or refused, as the type's
-- own input does it
CREATE FUNCTION roster_reads(form text, OUT theirs text, OUT ours text) LANGUAGE plpgsql AS $$
BEGIN
	theirs := form::uuid;
	SELECT removed[1] INTO ours FROM validate_roster('roster_animal', 'id:0', ARRAY[form], roster_hash(ARRAY[theirs]), key_column => 'who');
EXCEPTION WHEN invalid_text_representation THEN
	theirs := sqlerrm;
	BEGIN
		SELECT removed[1] INTO ours FROM validate_roster('roster_animal', 'id:0', ARRAY[form], '', key_column => 'who');
	EXCEPTION WHEN invalid_text_representation THEN
		ours := sqlerrm;
	END;
END $$;
SELECT count(*), count(*) FILTER (WHERE theirs LIKE 'invalid%') AS refused, count(*) FILTER (WHERE theirs IS DISTINCT FROM ours) AS different
FROM generate_series(1, 36) AS place, generate_series(32, 126) AS code,
	roster_reads(overlay('f0e1d2c3-b4a5-9687-7869-5a4b3c2d1e0f' PLACING chr(code) FROM place));
SELECT v.valid FROM validate_roster('roster_animal', 'id:4', '{"2026-01-01 05:00:00+01"}',
	seen_hash('{2026-01-01 04:00:00+00}'), key_column => 'stamp') AS v;
-- changed
SELECT v.* FROM validate_roster('roster_animal', 'kind:duck', '{1,2,6}', seen_hash('{1,2,6}')) AS v;
SELECT v.* FROM validate_roster('roster_animal', 'kind:duck', '{1,2,6}', seen_hash('{1,2,6}'), confirmed => true) AS v;
SELECT v.* FROM validate_roster('roster_animal', 'kind:cow', '{1}', seen_hash('{1}')) AS v;
SELECT v.* FROM validate_roster('roster_animal', 'id:1', '{}', seen_hash('{}')) AS v;
SELECT v.* FROM validate_roster('roster_animal', 'kind:cow', '{}', seen_hash('{}')) AS v;
SELECT added, removed FROM validate_roster('roster_animal', 'id:1..3', '{c9,c2,c0}', seen_hash('{c0,c2,c9}'), key_column => 'code');
-- confirm by submitting again what came back
SELECT v2.valid FROM validate_roster('roster_animal', 'kind:duck', '{1}', seen_hash('{1}')) AS v1,
	validate_roster('roster_animal', 'kind:duck', v1.resolved_ids, v1.roster_hash) AS v2;
-- scope is part of the hash
SELECT v.valid FROM resolve_roster('roster_animal', 'id:4', scope => 'x') AS r,
	validate_roster('roster_animal', 'id:4', resolved_ids, roster_hash, scope => 'x') AS v;
-- the statement's own snapshot: what a function changed before
DO $$
DECLARE
	seen record;
	now record;
BEGIN
	SELECT * INTO seen FROM resolve_roster('roster_animal', 'kind:duck');
	UPDATE roster_animal SET kind = 'swan' WHERE id = 4;
	SELECT * INTO now FROM validate_roster('roster_animal', 'kind:duck', seen.resolved_ids, seen.roster_hash);
	RAISE NOTICE 'valid % removed %', now.valid, now.removed;
END $$;

-- errors, each with its code
CREATE FUNCTION roster_error(call text) RETURNS text LANGUAGE plpgsql AS $$
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
CREATE SEQUENCE roster_sequence;
CREATE INDEX roster_index ON roster_animal (kind);
SELECT call, roster_error(call) FROM unnest(ARRAY[
	$$ resolve_roster(NULL, '') $$,
	$$ resolve_roster('roster_animal', NULL) $$,
	$$ resolve_roster('roster_animal', '', key_column => NULL) $$,
	$$ resolve_roster('roster_animal', '', key_column => 'nr') $$,
	$$ resolve_roster('roster_animal', '', at => now()) $$,
	$$ resolve_roster('roster_animal', '', period_column => 'when') $$,
	$$ resolve_roster('roster_animal', '', period_column => 'stamp') $$,
	$$ resolve_roster('roster_animal', 'kind:hen', key_column => 'code') $$,
	$$ resolve_roster('roster_sequence', '') $$,
	$$ resolve_roster('roster_index', '') $$,
	$$ resolve_roster(1, '') $$,
	$$ resolve_roster('roster_animal', '', scope => E'a\nb') $$,
	$$ validate_roster('roster_animal', '', NULL, '') $$,
	$$ validate_roster('roster_animal', '', '{}', NULL) $$,
	$$ validate_roster('roster_animal', '', '{}', '', confirmed => NULL) $$,
	$$ validate_roster('roster_animal', '', '{NULL}', '') $$,
	$$ validate_roster('roster_animal', '', '{1,two}', '') $$,
	$$ validate_roster('roster_animal', '', '{1}', 'abc') $$,
	$$ validate_roster('roster_animal', '', '{1}', roster_hash('{1}'::int[]), scope => 'x') $$,
	$$ validate_roster('roster_animal', '', '{1}', upper(roster_hash('{1}'::int[]))) $$,
	$$ validate_roster('roster_animal', '', ARRAY[E'a\nb'], '', key_column => 'code') $$,
	$$ claim_roster(NULL, '', '{}', '') $$]) WITH ORDINALITY AS c(call, nr)
ORDER BY nr;
-- the element that does not parse is named
\set SHOW_CONTEXT always
SELECT * FROM validate_roster('roster_animal', '', '{1,two}', '');
\set SHOW_CONTEXT never

-- kept plans follow renames and changes of the source
CREATE SCHEMA roster_a;
CREATE SCHEMA roster_b;
CREATE TABLE roster_a.t (id int, label text);
CREATE TABLE roster_b.t (id int, label text);
INSERT INTO roster_a.t VALUES (1, 'x');
INSERT INTO roster_b.t VALUES (2, 'x');
CREATE FUNCTION by_oid(source oid, filter text) RETURNS text RETURN (resolve_roster(source::regclass, filter)).resolved_ids;
SELECT 'roster_a.t'::regclass::oid AS a, 'roster_b.t'::regclass::oid AS b \gset
SELECT by_oid(:a, 'label:x'), by_oid(:b, 'label:x');
ALTER SCHEMA roster_a RENAME TO roster_c;
ALTER SCHEMA roster_b RENAME TO roster_a;
ALTER SCHEMA roster_c RENAME TO roster_b;
SELECT by_oid(:a, 'label:x'), by_oid(:b, 'label:x');
ALTER TABLE roster_a.t RENAME COLUMN label TO tag;
ALTER TABLE roster_a.t ADD label int DEFAULT 5;
SELECT by_oid(:a, 'label:x'), by_oid(:b, 'tag:x label:5');
ALTER TABLE roster_b.t ALTER label TYPE int USING 7, ALTER id TYPE text USING 'k' || id;
SELECT by_oid(:a, 'label:7');
DROP TABLE roster_b.t;
SELECT replace(roster_error(format('resolve_roster(%s, %L)', :a, '')), :'a', '<oid>') AS dropped;
-- more shapes than are kept, twice, and a view that calls back while its plan is in use
SELECT count(*) AS shapes, sum(cardinality((resolve_roster('roster_animal', filter)).resolved_ids)) AS ids
FROM (SELECT ltrim(repeat(' id:>0', n) || repeat(' big:*', m)) AS filter FROM generate_series(0, 9) n, generate_series(1, 9) m, generate_series(1, 2)) AS f;
CREATE FUNCTION calls_back(id int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1..70 LOOP
		PERFORM resolve_roster('roster_animal', ltrim(repeat(' id:>0', n)));
	END LOOP;
	RETURN id;
END $$;
CREATE VIEW roster_calling AS SELECT calls_back(id) AS id, kind FROM roster_animal;
SELECT resolved_ids FROM resolve_roster('roster_calling', 'kind:duck|goose');
CREATE VIEW roster_failing AS SELECT id / (id - 3) AS id, kind FROM roster_animal;
SELECT roster_error($$resolve_roster('roster_failing', '')$$);
SELECT resolved_ids FROM resolve_roster('roster_failing', 'kind:duck');

-- the caller's rights
CREATE ROLE regress_roster_reader;
GRANT SELECT ON roster_ducks TO regress_roster_reader;
SET ROLE regress_roster_reader;
SELECT resolved_ids FROM resolve_roster('roster_ducks', '');
SELECT roster_error($$resolve_roster('roster_animal', '')$$);
SELECT roster_error($$claim_roster('roster_ducks', '', '{}', roster_hash('{}'::int[]))$$);
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA roster_a, roster_b CASCADE;
DROP TABLE roster_animal, roster_parts CASCADE;
DROP SEQUENCE roster_sequence;
DROP FUNCTION seen_hash(text[]), roster_error(text), by_oid(oid, text), calls_back(int);
DROP ROLE regress_roster_reader;
