-- What a client says that it saw: ids of any type, compared by the key's type,
-- and a hash of them as they are written or as they are read.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
CREATE EXTENSION IF NOT EXISTS citext;
CREATE TYPE seen_pair AS (a numeric, b text);
CREATE TABLE seen (int int, big bigint, num numeric, price numeric(6,2), real float8, who uuid, name text, cited citext, nums numeric[],
	code char(4), short varchar(4), span interval, stamp timestamptz, stamp0 timestamptz(0), day date, doc jsonb, pair seen_pair, range numrange, flag boolean, bits bytea, transaction xid);
INSERT INTO seen VALUES (1, 1, 1.10, 1.1, 1, '00000000-0000-0000-0000-00000000000a', 'Ann', 'Ann', '{1.10}', 'ab', 'ab', '1 day', '2026-01-01 12:00 UTC', '2026-01-01 12:00:00 UTC', '2026-01-01',
	'{"a": 1.10}', '(1.10,x)', '[1.10,2)', true, '\x0a', '7');

-- one id, in another spelling, with the hash of what was written, and of what
-- the server would have given
CREATE FUNCTION judged(key name, ids anycompatiblearray, hash text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
BEGIN
	RETURN (SELECT CASE WHEN valid THEN 'valid' ELSE format('added %s, removed %s', added, removed) END FROM validate_roster('seen', '', ids, hash, key_column => key));
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ': ' || sqlerrm;
END $$;
SELECT key, id, judged(key, ARRAY[id], roster_hash(ARRAY[id])) AS written, judged(key, ARRAY[id], roster_hash) AS given
FROM (VALUES ('int', '01'), ('int', ' 1 '), ('int', '2'), ('int', '1.0'), ('big', '+1'), ('num', '1.1'), ('num', '1.1000'), ('num', '1.11'), ('price', '1.1'), ('price', '1.10'), ('price', '1.104'), ('price', '1e99'),
	('real', '1.0'), ('real', '1e0'), ('who', '{0000000000000000000000000000000A}'), ('who', '00000000-0000-0000-0000-00000000000A'), ('name', 'ANN'), ('name', 'Ann '), ('cited', 'aNN'),
	('nums', '{1.1}'), ('nums', '{1.1,1}'), ('code', 'ab'), ('code', 'ab  '), ('code', 'abc'), ('short', 'ab'), ('short', 'abcde'), ('span', '24:00'), ('span', '25:00'), ('stamp', '2026-01-01T13:00+01'),
	('stamp0', '2026-01-01 12:00:00.4 UTC'), ('stamp0', '2026-01-01T12:00Z'), ('day', '1/1/2026'), ('doc', '{"a":1.1}'), ('doc', '{"a":1.1,"b":1}'), ('pair', '(1.1,x)'), ('pair', '(1.1,y)'), ('range', '[1.1,2.0)'),
	('flag', 'yes'), ('bits', '\012'), ('transaction', '007'), ('who', 'nobody')) AS s(key, id), resolve_roster('seen', '', key_column => key);

-- ids of any type
SELECT judged('int', '{1}'::bigint[], roster_hash('{1}'::int[])) AS bigint, judged('int', '{1}'::numeric[], roster_hash('{1}'::int[])) AS numeric, judged('int', '{1.0}'::numeric[], roster_hash('{1.0}'::numeric[])) AS fraction,
	judged('big', '{1}'::smallint[], roster_hash('{1}'::int[])) AS smallint, judged('num', '{1.1}'::float8[], roster_hash('{1.1}'::float8[])) AS float8, judged('price', '{1.1}'::numeric[], roster_hash('{1.10}'::text[])) AS price,
	judged('who', '{00000000-0000-0000-0000-00000000000A}'::uuid[], roster_hash('{00000000-0000-0000-0000-00000000000a}'::text[])) AS uuid, judged('name', '{Ann}'::name[], roster_hash('{Ann}'::text[])) AS name,
	judged('name', '{Ann}'::citext[], roster_hash('{Ann}'::text[])) AS citext, judged('code', '{ab}'::char(4)[], roster_hash('{"ab  "}'::text[])) AS char, judged('stamp', '{2026-01-01 13:00+01}'::timestamptz[], roster_hash('{2026-01-01 12:00:00+00}'::text[])) AS timestamptz,
	judged('day', ARRAY[date '2026-01-01'], roster_hash('{2026-01-01}'::text[])) AS date, judged('pair', ARRAY[ROW(1.1, 'x')::seen_pair], roster_hash('{"(1.1,x)"}'::text[])) AS composite, judged('int', '{{1,1},{1,1}}'::int[], roster_hash('{1}'::int[])) AS two_dimensions;
-- unknown literals, parameters without a type, positions, names, nulls
SELECT valid FROM validate_roster('seen', '', '{1}', roster_hash('{1}'::int[]), key_column => 'int');
SELECT valid FROM validate_roster(source => 'seen', filter => '', seen_ids => '{1}', seen_hash => roster_hash('{1}'::int[]), key_column => 'int');
SELECT resolved_ids FROM claim_roster(source => 'seen', filter => '', seen_ids => ARRAY[1], seen_hash => roster_hash('{1}'::int[]), key_column => 'int');
PREPARE seen_so AS SELECT valid FROM validate_roster('seen', '', $1, $2, key_column => 'int');
EXECUTE seen_so('{1}', roster_hash('{1}'::int[]));
EXECUTE seen_so(NULL, roster_hash('{1}'::int[]));
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'seen_so';
SELECT validate_roster('seen', '', '{1}', NULL, key_column => 'int');
SELECT claim_roster('seen', '', NULL::int[], NULL, key_column => 'int');
SELECT valid FROM validate_roster('seen', 'int:2', '{}', roster_hash('{}'::int[]), key_column => 'int');

-- several that are equal: nothing is added or removed that has an equal
INSERT INTO seen (num, cited) VALUES (1.1, 'ANN'), (2.0, 'Bob'), (3, 'cy');
SELECT v.* FROM validate_roster('seen', 'num:<=2', '{1.100,2}', roster_hash('{1.100,2}'::numeric[]), key_column => 'num') AS v;
SELECT v.* FROM validate_roster('seen', 'num:*', '{1.1,2.00,4.0,4.00}', roster_hash('{1.1,2.00,4.0,4.00}'::numeric[]), key_column => 'num') AS v;
SELECT v.* FROM validate_roster('seen', 'cited:*', '{aNN,bOB,cY,dee,DEE}', roster_hash('{aNN,bOB,cY,dee,DEE}'::text[]), key_column => 'cited') AS v;
SELECT v.* FROM claim_roster('seen', 'cited:*', '{aNN,bOB,cY}', roster_hash('{aNN,bOB,cY}'::text[]), key_column => 'cited') AS v;
SELECT v.* FROM claim_roster('seen', 'cited:*', '{aNN,bOB}', roster_hash('{aNN,bOB}'::text[]), key_column => 'cited') AS v;
SELECT valid, cardinality(added) AS added, cardinality(removed) AS removed
FROM (SELECT array_agg(n || '.0') AS ids FROM generate_series(1, 3000) AS n) AS s, validate_roster('seen', 'num:*', ids, roster_hash(ids), key_column => 'num');

-- no ids, however the null is written: the hash alone decides, and only the one that the server gives
SELECT v.* FROM validate_roster('seen', 'int:1', NULL, roster_hash('{1}'::int[]), key_column => 'int') AS v;
SELECT v.* FROM validate_roster('seen', 'int:1', NULL::int[], roster_hash('{2}'::int[]), key_column => 'int') AS v;
SELECT v.* FROM validate_roster('seen', 'int:1', seen_ids => NULL, seen_hash => roster_hash('{2}'::int[]), key_column => 'int', confirmed => true) AS v;
SELECT v.* FROM validate_roster('seen', 'int:1', NULL, roster_hash('{1}'::int[], 'north'), key_column => 'int', scope => 'north') AS v;
SELECT v.* FROM validate_roster('seen', 'int:2', NULL, roster_hash('{}'::int[]), key_column => 'int') AS v;
SELECT 'written' AS hash, judged('num', NULL::text[], roster_hash('{1.1,2,3}'::text[])) UNION ALL SELECT 'given', judged('num', NULL::text[], roster_hash('{1.1,1.10,2.0,3}'::text[]))
UNION ALL SELECT 'another scope', judged('num', NULL::text[], roster_hash('{1.1,1.10,2.0,3}'::text[], 'north'));
SELECT c.* FROM claim_roster('seen', 'int:1', NULL, roster_hash('{1}'::int[]), key_column => 'int') AS c;
SELECT c.* FROM claim_roster('seen', 'int:1', NULL, roster_hash('{2}'::int[]), key_column => 'int') AS c;
SELECT c.* FROM claim_roster('seen', 'int:1', NULL, roster_hash('{2}'::int[]), key_column => 'int', confirmed => true) AS c;

-- which of the two is wrong
SELECT hash, judged('int', '{1}', hash) FROM unnest(ARRAY['', 'x', upper(roster_hash('{1}'::int[])), left(roster_hash('{1}'::int[]), 63), roster_hash('{1}'::int[]) || '0',
	translate(roster_hash('{1}'::int[]), '0123456789', 'ghijklmnop'), roster_hash('{2}'::int[]), ' ' || left(roster_hash('{1}'::int[]), 63)]) AS hash;
SELECT validate_roster('seen', '', '{1}', upper(roster_hash('{1}'::int[])), key_column => 'int');
SELECT validate_roster('seen', '', NULL, upper(roster_hash('{1}'::int[])), key_column => 'int');
SELECT claim_roster('seen', '', NULL, left(roster_hash('{1}'::int[]), 63), key_column => 'int', confirmed => true);
SELECT validate_roster('seen', '', '{1}', roster_hash('{2}'::int[]), key_column => 'int');
-- an id with a newline is named, and not in full if it is long
SELECT validate_roster('seen', '', ARRAY['Ann', E'An\n"n"'], '', key_column => 'name');
SELECT roster_hash(ARRAY[E'\n' || repeat('é', 200)]);

DROP TABLE seen;
DROP TYPE seen_pair;
DROP FUNCTION judged(name, anycompatiblearray, text);
