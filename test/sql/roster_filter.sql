-- The filter language: what it is, and what each error says.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
RESET client_min_messages;

-- each filter as it is understood
SELECT filter, jsonb_pretty(parse_filter(filter)) AS parsed
FROM unnest(ARRAY['', E' \t\n ', 'a:b', '-a:b', 'a:"b c"', 'a:"say \"hi\" \\ so"', 'a:""',
	'a:b|c|"d e"', 'a:>5', 'a:>=5', 'a:<5', 'a:<=-5', 'a:1..9', 'a:"x y".."z|"', 'a:-5..-1',
	'a:*', '-a:*', 'a:"*"', 'a:12:30', 'a:b c:d', '"odd name":x', 'größe:10',
	'a:1.5', 'a:.5', 'a:>"b c"', 'a:"''; drop table t; --"']) WITH ORDINALITY AS f(filter, nr)
ORDER BY nr;

-- where each error is and what was expected there
CREATE FUNCTION filter_error(filter text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	PERFORM parse_filter(filter);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s: %s %s', SQLSTATE, message, detail::jsonb);
END $$;
SELECT filter, filter_error(filter)
FROM unnest(ARRAY['a', 'a b:c', ':b', '-', '- a:b', '--a:b', '"a:b', '"a"b:c', '"":c', 'a"b:c',
	'a:', 'a: b', 'a:b|', 'a:|b', 'a:b||c', 'a:b"c"', 'a:"b', 'a:"b\n"', 'a:"b"c', 'a:"b\', 'a:>', 'a:>=',
	'a:>5|6', 'a:>1..2', 'a:1..', 'a:..2', 'a:1..2..3', 'a:1..2|3', 'a:1|2..3', 'a:*|b', 'a:b|*', 'a:>*',
	'a:*b', 'a:b*', 'a:=5', 'a:b\c', 'a:(x)', 'a:'';drop', 'a:1...5', 'a:...', 'ä:ö x:', 'ok:1 日本:"語']) WITH ORDINALITY AS f(filter, nr)
ORDER BY nr;

-- limits
SELECT filter_error('a:"' || repeat('x', 1048576) || '"') AS length,
	filter_error('a:"' || repeat('x', 1048576 - 4) || '"') AS longest;
SELECT filter_error(repeat('a:b ', 101)) AS terms, filter_error(repeat('a:b ', 100)) AS most_terms;
SELECT filter_error('a:b' || repeat('|b', 10000)) AS alternatives, filter_error('a:b' || repeat('|b', 9999)) AS most_alternatives;
SELECT filter_error(repeat('a:b ', 100000)) AS many_terms;
SELECT parse_filter(NULL) IS NULL AS strict;

-- the hints
SELECT parse_filter('a:');
SELECT parse_filter('a:b,c');

-- against a source: one column for each kind of type
CREATE TYPE filter_pair AS (a int, b text);
CREATE TYPE filter_mood AS ENUM ('sad', 'ok', 'glad');
CREATE DOMAIN filter_even AS int CHECK (value % 2 = 0);
CREATE TABLE filter_source (id int PRIMARY KEY, small smallint, big bigint, num numeric(6,2), real float8,
	name text, code varchar(4), blank char(4), flag boolean, day date, moment timestamptz, span interval,
	mood filter_mood, pair filter_pair, tags text[], period int4range, doc json, docb jsonb, spot point,
	even filter_even, evens filter_even[], who uuid, "odd ""name" int, gone int, transaction xid, bits bytea);
ALTER TABLE filter_source DROP COLUMN gone;
INSERT INTO filter_source VALUES
	(1, 1, 10, 1.50, 0.1, 'ann', 'A1', 'x', true, '2026-01-01', '2026-01-01 00:00+00', '1 day',
		'sad', '(1,a)', '{a,b}', '[1,5)', '{"a": 1}', '{"a": 1}', '(1,2)', 2, '{2,4}', md5('1')::uuid, 1, '7', '\x01'),
	(2, 2, 20, 2.50, 0.2, 'bob', 'A2', 'y', false, '2026-01-02', '2026-01-02 00:00+00', '2 days',
		'ok', '(2,b)', '{c}', '[5,9)', '{"a": 2}', '{"a": 2}', '(2,3)', 4, '{6}', md5('2')::uuid, 2, '8', '\x02'),
	(3, 3, 30, 3.50, 0.3, 'cy d', 'A3', 'z', NULL, '2026-01-03', '2026-01-03 00:00+00', '3 days',
		'glad', '(3,)', '{}', 'empty', '{"a": 3}', '{"a": 3}', '(3,4)', 6, '{}', md5('3')::uuid, 3, '9', '\x03'),
	(4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
		NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE FUNCTION selected(filter text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
BEGIN
	RETURN (resolve_roster('filter_source', filter)).resolved_ids;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
	RETURN SQLSTATE || ': ' || message;
END $$;
SELECT filter, selected(filter)
FROM unnest(ARRAY['', 'id:3', 'small:>=2', 'big:10..20', 'num:1.5', 'num:>1.495', 'real:0.1|0.3', 'name:bob', 'name:"cy d"',
	'name:<bob', 'code:A1|A3', 'code:"A1 "', 'code:longer', 'blank:x', 'blank:"x   "', 'flag:t', 'flag:no', '-flag:yes', 'flag:*', '-flag:*',
	'day:2026-01-02', 'day:>2026-01-01', 'moment:"2026-01-02 01:00+01"', 'span:"48:00"', 'span:>"1 day"', 'mood:sad|glad', 'mood:>sad',
	'pair:"(2,b)"', 'pair:"(1,a)"|"(3,)"', 'pair:*', '-pair:*', 'pair:>"(1,a)"', 'tags:"{a,b}"', 'tags:"{c}"|"{}"', '-tags:"{c}"|"{}"', 'period:"[1,5)"|empty',
	'period:"[1,4]"', 'docb:"{\"a\":1}"', 'even:4', 'even:2|6', 'even:>2', 'evens:"{2,4}"|"{6}"',
	'who:C4CA4238-a0b9-2382-0dcc-509a6f75849b', '"odd \"name":2', 'transaction:7|9', 'bits:"\\x02"', 'doc:*', '-doc:*', 'spot:*',
	-- not
	'-name:bob', '-name:ann|bob', '-big:10..20', '-big:>10', '-big:>10 big:*',
	-- several terms
	'small:>1 big:<30', 'name:bob name:ann',
	-- errors
	'even:3', 'small:70000', 'day:yesterdayish', 'mood:angry', 'who:1', 'pair:"(x,y)"', 'tags:"{"',
	'doc:"{}"', 'spot:"(1,2)"', 'spot:>"(1,2)"', 'transaction:>5', 'docs:1', 'gone:1', 'ctid:"(0,1)"', 'ID:1',
	'odd:1', '"odd "name":1']) WITH ORDINALITY AS f(filter, nr)
ORDER BY nr;

-- what such errors tell programs and people

\set SHOW_CONTEXT always
SELECT * FROM resolve_roster('filter_source', 'id:1 colour:red');
SELECT * FROM resolve_roster('filter_source', 'id:1 day:"13th"');
SELECT * FROM resolve_roster('filter_source', 'id:1 doc:"{}"');
SELECT * FROM resolve_roster('filter_source', 'big:1 transaction:>=5');
SELECT * FROM resolve_roster('filter_source', 'even:three');
SELECT * FROM resolve_roster('filter_source', repeat('é', 2000) || ':1');
\set SHOW_CONTEXT never

-- an operator that somebody puts in front of the server's is not used
CREATE SCHEMA shadow;
CREATE FUNCTION shadow.always(int, int) RETURNS boolean LANGUAGE sql RETURN true;
CREATE OPERATOR shadow.= (LEFTARG = int, RIGHTARG = int, FUNCTION = shadow.always);
CREATE FUNCTION shadow.always(varchar, varchar) RETURNS boolean LANGUAGE sql RETURN true;
CREATE OPERATOR shadow.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = shadow.always);
CREATE TYPE shadow.text AS (a int);
SET search_path = shadow, pg_catalog, public;
SELECT selected('id:1') AS id, selected('code:A1|A2') AS code;
RESET search_path;

DROP SCHEMA shadow CASCADE;
DROP TABLE filter_source;
DROP DOMAIN filter_even;
DROP TYPE filter_pair, filter_mood;
DROP FUNCTION selected(text), filter_error(text);
