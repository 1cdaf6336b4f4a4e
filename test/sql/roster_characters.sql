-- A filter fails closed: which characters separate terms, which may stand in
-- bare text, and that all others are refused until they are quoted.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
RESET client_min_messages;

-- the values of a filter, or its error with the position and what is there
CREATE FUNCTION understood(filter text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN (SELECT string_agg(format('%s%s %s %s', CASE WHEN (t ->> 'negated')::boolean THEN 'not ' END, t ->> 'field', t ->> 'operator', t ->> 'values'), '; ')
		FROM jsonb_array_elements(parse_filter(filter)) AS t);
EXCEPTION WHEN syntax_error THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s at %s: %s', sqlstate, detail::jsonb ->> 'position', coalesce(detail::jsonb ->> 'character', detail::jsonb ->> 'expected'));
END $$;

-- letters, marks and digits of any script, and punctuation that means nothing here
SELECT filter, understood(filter)
FROM unnest(ARRAY['state:north_east-1', 'at:2024-01-01T10:00:00+02', 'path:/a/b.c', 'mail:ann@example.org', 'tag:#x', 'price:$5', 'a:-5', 'a:b-c:d',
	'a:-', 'a:+5', 'name:日本語|größe|Москва', 'name:हिन्दी', 'name:ﷺ', E'name:e\u0301', 'n:٣|３', 'größe:x', 'a.b:c', 'a:.5..1.5', 'a:b..c.d', 'a:1.5..x',
	'a:""', '"":b', '-"a b":"c d"|e', '"-a":b', 'a:"b"..c', 'a:>=-5', 'a::b', 'a:b:']) WITH ORDINALITY AS f(filter, nr) ORDER BY nr;

-- what else separates terms
SELECT to_hex(code) AS code, understood('-state:closed' || chr(code) || 'realm:north'),
	understood(chr(code) || 'a:*' || chr(code)) AS around
FROM unnest('{9,10,11,12,13,32,133,160,5760,8192,8193,8194,8195,8196,8197,8198,8199,8200,8201,8202,8232,8233,8239,8287,12288}'::int[]) AS code;

-- what must be quoted, in values and fields, at their beginning, in them and at
-- their end; a:>=b and a:* are the two that may be taken
SELECT code, count(*) FILTER (WHERE outcome = format('42601 at %s: %s', place, shown)) AS refused,
	count(*) FILTER (WHERE outcome NOT LIKE '42601%') AS taken, bool_and(quoted) AS quoted
FROM unnest(ARRAY['''', ',', ';', '=', '!', '%', '&', '(', ')', '[', ']', '{', '}', '?', '^', '`', '~', '\', '*',
	U&'\2018', U&'\2019', U&'\201C', U&'\201D', U&'\201E', U&'\00AB', U&'\00BB', U&'\2032', U&'\2033', U&'\FF02', U&'\FF07',
	U&'\FF1A', U&'\FF5C', U&'\FF0C', U&'\3001', U&'\2026', U&'\2025', U&'\2024', U&'\2264', U&'\2265',
	U&'\2010', U&'\2011', U&'\2012', U&'\2013', U&'\2014', U&'\2212', U&'\FE63', U&'\FF0D', U&'\00AC',
	U&'\0001', U&'\0008', U&'\001B', U&'\007F', U&'\0080', U&'\009F',
	U&'\00AD', U&'\034F', U&'\061C', U&'\115F', U&'\1160', U&'\17B4', U&'\180B', U&'\180E', U&'\200B', U&'\200C', U&'\200D', U&'\200E', U&'\200F',
	U&'\202A', U&'\202E', U&'\2060', U&'\2062', U&'\2066', U&'\206F', U&'\3164', U&'\FE00', U&'\FE0F', U&'\FEFF', U&'\FFA0', U&'\FFF9',
	U&'\+0E0001', U&'\+0E0020', U&'\+0E007F', U&'\+0E0100', U&'\+0E01EF', U&'\+01F600', U&'\00B2', U&'\00BD', U&'\2167', U&'\E000', U&'\FFFD']) WITH ORDINALITY AS c(character, nr),
	LATERAL (SELECT CASE WHEN ascii(character) BETWEEN 33 AND 126 THEN character ELSE 'U+' || lpad(upper(to_hex(ascii(character))), CASE WHEN ascii(character) > 65535 THEN 5 ELSE 4 END, '0') END AS shown,
		'U+' || lpad(upper(to_hex(ascii(character))), CASE WHEN ascii(character) > 65535 THEN 5 ELSE 4 END, '0') AS code) AS s,
	LATERAL (VALUES ('a:' || character, 3), ('a:b' || character, 4), ('a:b' || character || 'c', 4), ('a:' || character || 'b', 3), ('a:b|' || character || 'c', 5),
		('a:b..' || character, 6), ('a:>' || character || 'b', 4), ('-a:b' || character || ' c:d', 5),
		(character || 'a:b', 1), ('a' || character || ':b', 2), ('-' || character || 'a:b', 2), ('c:d ' || character || '-a:b', 5)) AS f(filter, place),
	LATERAL (SELECT understood(filter) AS outcome, understood(format('"%1$s":"%1$s"', replace(character, '\', '\\'))) = format('%1$s = [%2$s]', character, to_json(character)) AS quoted) AS u
GROUP BY nr, code ORDER BY nr;

-- what is no bare text for other reasons
SELECT filter, understood(filter)
FROM unnest(ARRAY['--a:b', 'a:b|', 'a:1..', 'a:..1', 'a:1...5', 'a:1....5', 'a:1..2..3', 'a:"b"c', 'a:"b"''c''', 'a:b"c"', 'a"b":c', 'a:>>5', 'a:<>5', 'a:>=', 'a:=>5', 'a:!=5',
	'a:* b', 'a:**', 'a:*"', 'a:b,c:d', 'a:(b c)', 'a..b:c']) WITH ORDINALITY AS f(filter, nr) ORDER BY nr;

-- what each of these would have selected, taken for part of the value: all rows
CREATE TABLE character_source (id int, state text, realm text);
INSERT INTO character_source VALUES (1, 'open', 'north'), (2, 'closed', 'north'), (3, 'open', 'south');
SELECT resolved_ids FROM resolve_roster('character_source', U&'-state:closed\00A0realm:north');
SELECT resolved_ids FROM resolve_roster('character_source', $$-state:'closed'$$);
SELECT resolved_ids FROM resolve_roster('character_source', '-state:closed,realm:north');
SELECT resolved_ids FROM resolve_roster('character_source', U&'-state:closed\200B');
SELECT resolved_ids FROM resolve_roster('character_source', U&'\FEFFstate:closed');

DROP TABLE character_source;
DROP FUNCTION understood(text);
