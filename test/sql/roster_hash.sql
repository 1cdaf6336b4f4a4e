-- The hash of sets of ids: vectors, types, and the errors.

\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
RESET client_min_messages;

-- the definition in plain SQL, for texts in a UTF-8 database
CREATE FUNCTION plain_hash(ids text[], scope text DEFAULT NULL) RETURNS text
RETURN (SELECT encode(sha256(convert_to(coalesce(scope, '') || E'\n' ||
		coalesce(string_agg(id || E'\n', '' ORDER BY id COLLATE "C"), ''), 'UTF8')), 'hex')
	FROM (SELECT DISTINCT unnest(ids) AS id) AS distinct_ids);

-- test vectors
SELECT roster_hash('{}'::text[]);
SELECT roster_hash('{}'::uuid[], 'north');
SELECT roster_hash('{b,a,b,ä}'::text[], 'north');
SELECT roster_hash('{00000000-0000-0000-0000-00000000000B,00000000-0000-0000-0000-00000000000a}'::uuid[]);
SELECT roster_hash('{10,9,-1}'::int[]);

-- null scope is the empty scope; the aggregate has none
SELECT roster_hash('{a}'::text[]) = roster_hash('{a}'::text[], '') AS empty_scope,
	roster_hash('{a}'::text[]) <> roster_hash('{a}'::text[], 'a') AS other_scope,
	roster_hash('{a}'::text[]) = (SELECT roster_hash_agg(a) FROM unnest('{a,a}'::text[]) AS a) AS aggregate,
	roster_hash('{}'::text[]) = (SELECT roster_hash_agg(1) WHERE false) AS no_rows;

-- the order is that of bytes, not of numbers or of a language
SELECT roster_hash('{2,10,1}'::bigint[]) = plain_hash('{1,10,2}') AS bigints,
	roster_hash('{-5,-10,7}'::smallint[]) = plain_hash('{-10,-5,7}') AS smallints,
	roster_hash('{-9223372036854775808,9223372036854775807}'::bigint[])
		= plain_hash('{-9223372036854775808,9223372036854775807}') AS extremes,
	roster_hash('{a,B,é,Z,"",日本}'::text[]) = plain_hash('{a,B,é,Z,"",日本}') AS texts,
	roster_hash('{abcdefgh,abcdefg,abcdefghi,abcdefgha}'::varchar[])
		= plain_hash('{abcdefgh,abcdefg,abcdefghi,abcdefgha}') AS long_common_prefix;

-- arrays of more than one dimension, or whose first element is not number 1
SELECT roster_hash('{{1,2},{3,1}}'::int[]) = roster_hash('{1,2,3}'::int[]) AS two_dimensions,
	roster_hash('[5:6]={1,2}'::int[]) = roster_hash('{1,2}'::int[]) AS other_bounds;

-- the fast path for uuids and the general path agree, sorted or not
SELECT count(*) AS sets, count(*) FILTER (WHERE roster_hash(ids) <> roster_hash(ids::text[])
		OR roster_hash(ids) <> plain_hash(ids::text[])
		OR roster_hash(ids) <> (SELECT roster_hash_agg(id) FROM unnest(ids) AS id)) AS wrong
FROM (SELECT n, (SELECT array_agg(md5((n::bigint * i * i % 1499)::text)::uuid) FROM generate_series(1, n) AS i) AS ids
	FROM unnest('{1,2,3,10,500,999,1000,1001,3000}'::int[]) AS n) AS s;

-- uuids made to defeat the radix sort: equal beginnings, equal ends, sorted, reversed
SELECT form, count(*) FILTER (WHERE roster_hash(ids) <> roster_hash(ids::text[])) AS wrong
FROM (SELECT form, array_agg(format(form, lpad(to_hex(i * 7919 % 20011), 8, '0'), lpad(to_hex(i % 7), 4, '0'))::uuid) AS ids
	FROM generate_series(1, 20000) AS i,
		unnest('{%1$s-0000-0000-0000-000000000000,00000000-0000-0000-0000-0000%1$s,00000000-0000-%2$s-0000-0000%1$s,ffff%2$s-0000-0000-0000-0000%1$s}'::text[]) AS form
	GROUP BY form) AS s GROUP BY form ORDER BY form;
SELECT roster_hash(ids) = roster_hash(ids::text[]) AS clustered, count
FROM (SELECT array_agg((md5((i % 3)::text)::uuid::text::varchar(8) || '-0000-0000-0000-' || lpad(to_hex(20000 - i), 12, '0'))::uuid) AS ids, count(*)
	FROM generate_series(1, 20000) AS i) AS s;

-- other types through their output functions, whatever the session has set
CREATE FUNCTION fixed_forms() RETURNS TABLE (type text, ok boolean) LANGUAGE sql STABLE AS $$
	SELECT 'date', roster_hash(ARRAY[date '2026-01-02']) = plain_hash('{2026-01-02}')
	UNION ALL SELECT 'timestamptz', roster_hash(ARRAY[timestamptz '2026-01-02 03:04:05+00'])
		= plain_hash('{"2026-01-02 03:04:05+00"}')
	UNION ALL SELECT 'interval', roster_hash(ARRAY[interval '1 day 2 hours']) = plain_hash('{"1 day 02:00:00"}')
	UNION ALL SELECT 'float8', roster_hash(ARRAY[0.1::float8 + 0.2::float8]) = plain_hash('{0.30000000000000004}')
	UNION ALL SELECT 'bytea', roster_hash(ARRAY['\x00ff'::bytea]) = plain_hash(ARRAY['\x00ff'])
	UNION ALL SELECT 'numeric', roster_hash('{1.0,1.00,1}'::numeric[]) = plain_hash('{1,1.0,1.00}')
	UNION ALL SELECT 'boolean', roster_hash('{t,f}'::boolean[]) = plain_hash('{f,t}')
	UNION ALL SELECT 'char(3)', roster_hash('{a}'::char(3)[]) = plain_hash('{"a  "}')
	UNION ALL SELECT 'record', roster_hash(ARRAY[ROW(1, timestamptz '2026-01-02 03:04:05+00')])
		= plain_hash(ARRAY['(1,"2026-01-02 03:04:05+00")'])
	UNION ALL SELECT 'range', roster_hash(ARRAY[tstzrange('2026-01-02 03:04:05+00', NULL)])
		= plain_hash(ARRAY['["2026-01-02 03:04:05+00",)'])
	UNION ALL SELECT 'aggregate', (SELECT roster_hash_agg(t) FROM unnest(ARRAY[timestamptz '2026-01-02 03:04:05+00']) AS t)
		= plain_hash('{"2026-01-02 03:04:05+00"}')
$$;
SELECT * FROM fixed_forms();
BEGIN;
SET LOCAL DateStyle = 'German, DMY';
SET LOCAL TimeZone = 'Asia/Kathmandu';
SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL extra_float_digits = -5;
SET LOCAL bytea_output = 'escape';
SELECT * FROM fixed_forms() WHERE NOT ok;
SELECT count(roster_hash(ARRAY[now()])) AS hashed, current_setting('TimeZone') AS zone,
	current_setting('DateStyle') AS style, current_setting('extra_float_digits') AS digits;
COMMIT;

-- a composite type, an enum, a domain over uuid
CREATE TYPE hash_pair AS (a int, b text);
CREATE TYPE hash_mood AS ENUM ('sad', 'glad');
CREATE DOMAIN hash_uuid AS uuid;
SELECT roster_hash(ARRAY[ROW(1, 'x y')::hash_pair]) = plain_hash(ARRAY['(1,"x y")']) AS composite,
	roster_hash('{sad,glad}'::hash_mood[]) = plain_hash('{glad,sad}') AS enum,
	roster_hash('{00000000-0000-0000-0000-00000000000A}'::hash_uuid[])
		= plain_hash('{00000000-0000-0000-0000-00000000000a}') AS domain,
	(SELECT roster_hash_agg(v) FROM (VALUES (ROW(1, 'x y')::hash_pair)) AS t(v))
		= plain_hash(ARRAY['(1,"x y")']) AS composite_aggregate;

-- values long enough to be stored out of line, and longer than a block of the hash
CREATE TABLE hash_long (id text, bits bytea);
ALTER TABLE hash_long ALTER id SET STORAGE EXTERNAL;
INSERT INTO hash_long SELECT repeat(chr(64 + i), 40000 * i), repeat(chr(64 + i), 4000)::bytea FROM generate_series(1, 4) AS i;
SELECT roster_hash_agg(id) = plain_hash(array_agg(id)) AS texts,
	roster_hash_agg(bits) = plain_hash(array_agg('\x' || encode(bits, 'hex'))) AS byteas
FROM hash_long;

-- grouped, and as a window function
SELECT g, roster_hash_agg(i) = plain_hash(array_agg(i::text)) AS ok
FROM (SELECT i, i % 2 AS g FROM generate_series(1, 20) AS i) AS s GROUP BY g ORDER BY g;
SELECT bool_and(hash = plain_hash(ids)) AS running
FROM (SELECT roster_hash_agg(d) OVER w AS hash, array_agg(to_char(d, 'YYYY-MM-DD')) OVER w AS ids
	FROM (SELECT date '2026-01-01' + 7 * i % 30 AS d, i FROM generate_series(1, 50) AS i) AS s
	WINDOW w AS (ORDER BY i)) AS r;

-- errors
SELECT roster_hash(NULL::uuid[]);
\echo :LAST_ERROR_SQLSTATE
SELECT roster_hash('{00000000-0000-0000-0000-00000000000a,NULL}'::uuid[]);
\echo :LAST_ERROR_SQLSTATE
SELECT roster_hash('{a,NULL}'::text[]);
\echo :LAST_ERROR_SQLSTATE
SELECT roster_hash(ARRAY[NULL::date]);
\echo :LAST_ERROR_SQLSTATE
SELECT roster_hash_agg(NULL::int);
\echo :LAST_ERROR_SQLSTATE
SELECT roster_hash(ARRAY[E'a\nb']);
\echo :LAST_ERROR_SQLSTATE
SELECT roster_hash(ARRAY[ROW(E'a\nb')]);
\echo :LAST_ERROR_SQLSTATE
SELECT roster_hash('{a}'::text[], E'a\nb');
\echo :LAST_ERROR_SQLSTATE

DROP TABLE hash_long;
DROP TYPE hash_pair, hash_mood;
DROP DOMAIN hash_uuid;
DROP FUNCTION fixed_forms(), plain_hash(text[], text);
