-- A roster by a superuser runs no code of whoever made a domain, an operator on
-- it, or a type with either inside.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
CREATE EXTENSION IF NOT EXISTS citext;
RESET client_min_messages;

CREATE ROLE regress_stranger;
CREATE SCHEMA strange AUTHORIZATION regress_stranger;
GRANT CREATE ON SCHEMA public TO regress_stranger;
SET ROLE regress_stranger;
SET search_path = strange, public;

-- fails when anybody else runs it
CREATE FUNCTION trap(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'regress_stranger' THEN
		RAISE EXCEPTION 'the code of a stranger runs as %', CASE WHEN pg_has_role(current_user, 'pg_read_all_data', 'USAGE') THEN 'a superuser' END;
	END IF;
	RETURN true;
END $$;
CREATE DOMAIN word AS citext CHECK (trap(value::text));
CREATE DOMAIN word_too AS word;
CREATE DOMAIN code AS char(4) CHECK (trap(value::text));
CREATE DOMAIN label AS varchar(9) CHECK (trap(value));
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN feeling AS mood CHECK (trap(value::text));
CREATE DOMAIN price AS numeric(6,2) CHECK (trap(value::text));
CREATE DOMAIN words AS citext[] CHECK (trap(value::text));
CREATE DOMAIN span AS tstzrange CHECK (trap(value::text));
CREATE DOMAIN spans AS int4multirange CHECK (trap(value::text));
CREATE DOMAIN bare AS int;
CREATE DOMAIN present AS int NOT NULL;
CREATE TYPE pair AS (a int, b word);
CREATE TYPE plain_pair AS (a int, b text);
CREATE TYPE bare_pair AS (a int, b bare);
CREATE TYPE present_pair AS (a int, b present);
CREATE TYPE outer_pair AS (a int, p pair[]);
CREATE DOMAIN some_pair AS plain_pair CHECK (trap(value::text));
CREATE TYPE words_range AS RANGE (subtype = price, multirange_type_name = words_multirange);
CREATE TYPE bare_range AS RANGE (subtype = bare);
-- operators for the domains, in the schemas of the true ones where he may
CREATE FUNCTION op(word, citext) RETURNS boolean LANGUAGE sql AS 'SELECT strange.trap($1::text)';
CREATE FUNCTION op(word, word) RETURNS boolean LANGUAGE sql AS 'SELECT strange.trap($1::text)';
CREATE FUNCTION op(word_too, citext) RETURNS boolean LANGUAGE sql AS 'SELECT strange.trap($1::text)';
CREATE FUNCTION op(word_too, word_too) RETURNS boolean LANGUAGE sql AS 'SELECT strange.trap($1::text)';
CREATE FUNCTION op(span, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT strange.trap($1::text)';
CREATE FUNCTION op(words, citext[]) RETURNS boolean LANGUAGE sql AS 'SELECT strange.trap($1::text)';
CREATE OPERATOR public.= (LEFTARG = word, RIGHTARG = citext, FUNCTION = op);
CREATE OPERATOR public.= (LEFTARG = word, RIGHTARG = word, FUNCTION = op);
CREATE OPERATOR public.= (LEFTARG = word_too, RIGHTARG = citext, FUNCTION = op);
CREATE OPERATOR public.= (LEFTARG = word_too, RIGHTARG = word_too, FUNCTION = op);
CREATE OPERATOR public.< (LEFTARG = word, RIGHTARG = citext, FUNCTION = op);
CREATE OPERATOR public.< (LEFTARG = word, RIGHTARG = word, FUNCTION = op);
CREATE OPERATOR public.>= (LEFTARG = word, RIGHTARG = citext, FUNCTION = op);
CREATE OPERATOR public.@> (LEFTARG = span, RIGHTARG = timestamptz, FUNCTION = op);
CREATE OPERATOR public.= (LEFTARG = words, RIGHTARG = citext[], FUNCTION = op);
-- and casts, which the server ignores for a domain, but not for an array of one
SET client_min_messages = error;
CREATE FUNCTION uncast(word) RETURNS citext LANGUAGE sql AS $$ SELECT CASE WHEN strange.trap('cast') THEN 'a'::citext END $$;
CREATE CAST (word AS citext) WITH FUNCTION uncast(word) AS IMPLICIT;
RESET client_min_messages;
CREATE FUNCTION uncast(word[]) RETURNS citext[] LANGUAGE sql AS $$ SELECT CASE WHEN strange.trap('cast') THEN '{a}'::citext[] END $$;
CREATE CAST (word[] AS citext[]) WITH FUNCTION uncast(word[]) AS IMPLICIT;

CREATE TABLE bait (id word, too word_too, code code, label label, feeling feeling, price price, words words, list word[], prices price[],
	during span, spans spans, pair pair, plain plain_pair, bare bare_pair, present present_pair, pairs pair[], deep outer_pair, several some_pair, range words_range,
	ranges words_multirange, bares bare_range);
INSERT INTO bait VALUES ('A', 'A', 'a', 'a', 'sad', 1.1, '{A}', '{A}', '{1.1}', '[2026-01-01 UTC,)', '{[1,3)}', '(1,A)', '(1,a)', '(1,2)', '(1,2)', '{"(1,A)"}', ROW(1, '{"(1,A)"}'), '(1,a)', '[1,2)', '{[1,2)}', '[1,2)'),
	('b', 'b', 'b', 'b', 'glad', 2.5, '{b}', '{b}', '{2.5}', 'empty', '{}', '(2,b)', '(2,b)', '(2,3)', '(2,3)', '{}', ROW(2, '{}'), '(2,b)', 'empty', '{}', 'empty');
RESET search_path;
RESET ROLE;

-- the traps work
CREATE FUNCTION caught(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'SELECT (r.*)::text FROM ' || call || ' AS r' INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ': ' || sqlerrm;
END $$;
SELECT caught($$(SELECT 'a'::strange.word)$$), caught($$(SELECT id FROM strange.bait WHERE id OPERATOR(public.=) 'a'::citext)$$), caught($$(SELECT list::citext[] FROM strange.bait)$$);

-- filters of each kind on each column
SELECT filter, caught(format('(SELECT resolved_ids FROM resolve_roster(%L, %L))', 'strange.bait', filter)) AS outcome
FROM unnest(ARRAY['', 'id:a', 'id:a|B', '-id:a', 'id:>=b', 'id:<b', 'id:a..b', 'too:a', 'too:B|c', 'too:<b', 'code:a', 'code:"b "|c', 'label:a', 'label:b|toolongforit', 'feeling:sad', 'feeling:glad|sad', 'feeling:>sad',
	'feeling:angry', 'price:1.1', 'price:1.10|2.5', 'price:>1.104', 'words:"{a}"', 'words:"{a}"|"{B}"', 'list:"{a}"', 'list:"{a}"|"{B}"', 'list:>"{a}"', 'prices:"{1.10}"',
	'during:"[2026-01-01 00:00:00+00,)"', 'spans:"{[1,2]}"', 'plain:"(1,a)"', 'bare:"(1,2)"', 'several:"(1,a)"', 'several:"(1,a)"|"(2,b)"', 'bares:"[1,2)"',
	'pair:"(1,a)"', 'pair:"(1,a)"|"(2,b)"', 'pair:>"(1,a)"', 'present:"(1,2)"', 'pairs:"{}"', 'deep:"(1,{})"', 'range:"[1,2)"', 'ranges:"{}"',
	'pair:*', 'pairs:* deep:* range:* ranges:*', '-pair:*']) WITH ORDINALITY AS f(filter, nr) ORDER BY nr;
SELECT caught($$(SELECT resolved_ids FROM resolve_roster('strange.bait', '', at => '2026-02-01', period_column => 'during'))$$);

-- each column as the key: what is resolved comes back, and is claimed
SELECT key, caught(format('(SELECT resolved_ids FROM resolve_roster(%L, %L, key_column => %L))', 'strange.bait', '', key)) AS resolved,
	caught(format('resolve_roster(%1$L, %2$L, key_column => %3$L) AS s, LATERAL (SELECT valid FROM validate_roster(%1$L, %2$L, s.resolved_ids, s.roster_hash, key_column => %3$L))', 'strange.bait', '', key)) AS valid,
	caught(format('resolve_roster(%1$L, %2$L, key_column => %3$L) AS s, LATERAL (SELECT added, removed FROM claim_roster(%1$L, %2$L, s.resolved_ids, s.roster_hash, key_column => %3$L))', 'strange.bait', '', key)) AS claimed
FROM (SELECT attname AS key, attnum FROM pg_attribute WHERE attrelid = 'strange.bait'::regclass AND attnum > 0) AS a ORDER BY attnum;
SELECT caught($$validate_roster('strange.bait', '', '{a,B}', roster_hash('{a,B}'::text[]))$$) AS other_case,
	caught($$validate_roster('strange.bait', '', '{a,c}', roster_hash('{a,c}'::text[]), key_column => 'too')$$) AS changed,
	caught($$claim_roster('strange.bait', '', '{a,B}'::citext[], roster_hash('{a,B}'::text[]))$$) AS claimed;
SELECT roster_hash_agg(id) = roster_hash('{A,b}'::text[]) AS hash, roster_hash(array_agg(id)) = roster_hash('{A,b}'::text[]) AS array FROM strange.bait;

-- what the refusal says
SELECT resolve_roster('strange.bait', 'pair:"(1,a)"');

SET client_min_messages = warning;
DROP SCHEMA strange CASCADE;
DROP FUNCTION caught(text);
DROP OWNED BY regress_stranger;
DROP ROLE regress_stranger;
