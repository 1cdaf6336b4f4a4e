-- No operator that somebody made for a domain is preferred to the base type's,
-- and no domain's checks run where a key is read.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_domains;
SET search_path = test_domains, public;
CREATE EXTENSION citext;

CREATE DOMAIN code AS citext;
CREATE TABLE coded (id code PRIMARY KEY, state text NOT NULL);
SELECT govern('coded', '{"open": ["won", "lost"]}');
INSERT INTO coded VALUES ('a', 'open'), ('b', 'open'), ('c', 'open');

CREATE FUNCTION always(code, citext) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
	$$ BEGIN RAISE WARNING 'a stranger''s operator runs'; RETURN true; END $$;
CREATE FUNCTION always(code, code) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
	$$ BEGIN RAISE WARNING 'a stranger''s operator runs'; RETURN true; END $$;
CREATE OPERATOR = (LEFTARG = code, RIGHTARG = citext, FUNCTION = always);
CREATE OPERATOR = (LEFTARG = code, RIGHTARG = code, FUNCTION = always);

SELECT * FROM try_compare_and_swap(NULL::coded, 'A', 'open', 'won');
SELECT * FROM try_compare_and_swap(NULL::coded, 'a', 'open', 'lost');
SELECT * FROM coded ORDER BY id::text;
SELECT id, fate FROM coded_fates;
SELECT * FROM verify_fates('coded');
SELECT backfill_fates('coded');

-- a domain over an enum, which has no operators of its own
CREATE TYPE colour AS ENUM ('red', 'green');
CREATE DOMAIN paint AS colour;
CREATE TABLE painted (id paint PRIMARY KEY, state text NOT NULL);
SELECT govern('painted', '{"open": ["won", "lost"]}');
INSERT INTO painted VALUES ('red', 'open'), ('green', 'won');
SELECT compare_and_swap(NULL::painted, 'red', 'open', 'won');
SELECT id, fate FROM painted_fates ORDER BY id;
SELECT * FROM verify_fates('painted');

-- a key with a constrained domain within: its checks would run where it is read
CREATE DOMAIN even AS int CHECK (value % 2 = 0);
CREATE TYPE pair AS (a int, b even);
CREATE TABLE paired (id pair PRIMARY KEY, state text NOT NULL);
SELECT govern('paired', '{"open": ["won", "lost"]}');
INSERT INTO paired VALUES ('(1,2)', 'open');
SELECT told($$SELECT compare_and_swap(NULL::paired, '(1,2)', 'open', 'won')$$);
UPDATE paired SET state = 'won' WHERE (id).a = 1;
SELECT id, fate FROM paired_fates;
DROP SCHEMA test_domains CASCADE;
