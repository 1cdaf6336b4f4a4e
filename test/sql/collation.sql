-- States are compared byte by byte, whatever collation their column has; keys
-- as their column's collation says. (Needs UTF-8 and ICU, else it is skipped.)
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_collation;
SET search_path = test_collation, public;

SELECT getdatabaseencoding() <> 'UTF8'
    OR NOT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') AS skip \gset
\if :skip
\quit
\endif
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE vague (id int PRIMARY KEY, state text COLLATE any_case);
SELECT govern('vague', '{"open": ["OPEN", "closed"]}');
INSERT INTO vague VALUES (1, 'open');
SELECT told($$ SELECT compare_and_swap(NULL::vague, '1', 'OPEN', 'closed') $$);
SELECT told($$ SELECT compare_and_swap(NULL::vague, '1', 'open', 'OPEN') $$);
SELECT told($$ SELECT compare_and_swap(NULL::vague, '1', 'open', 'closed') $$);
SELECT told($$ UPDATE vague SET state = 'open' $$);
SELECT told($$ INSERT INTO vague VALUES (2, 'Closed') $$);
SELECT verify_fates('vague');

CREATE TABLE names (id text COLLATE any_case PRIMARY KEY, state text);
SELECT govern('names', '{"open": ["closed", "void"]}');
INSERT INTO names VALUES ('anna', 'open'), ('bert', 'open');
SELECT compare_and_swap(NULL::names, 'ANNA', 'open', 'closed');
SELECT told($$ SELECT compare_and_swap(NULL::names, 'Anna', 'open', 'void') $$);
SELECT told($$ UPDATE names SET id = 'Bert' WHERE id = 'bert' $$);
SELECT id, fate FROM names_fates;
SELECT verify_fates('names');

-- a roster's ids are compared so, too
CREATE FUNCTION seen_so(ids text[]) RETURNS TABLE (valid boolean, added text[], removed text[]) LANGUAGE sql AS $$
    SELECT valid, added, removed FROM validate_roster('names', '', ids, roster_hash(ids));
$$;
SELECT * FROM seen_so('{anna,bert}');
SELECT * FROM seen_so('{ANNA,Bert,Bert}');
SELECT * FROM seen_so('{ANNA,Carl,CARL}');
SELECT valid FROM resolve_roster('names', 'id:ANNA') AS r, validate_roster('names', 'id:anna', '{ANNA}', r.roster_hash);
