-- What is a lifecycle and what is none.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_lifecycle_parse;
SET search_path = test_lifecycle_parse, public;

CREATE TABLE t (id int PRIMARY KEY, state text);
SELECT command, told(format('SELECT govern(''t'', %L)', command))
FROM unnest(ARRAY[
    -- of another shape
    '[]', 'null', '"open"', '1', 'true', '[["open", "closed"]]',
    '{"open": "closed"}', '{"open": null}', '{"open": {"closed": []}}', '{"open": 1}',
    '{"open": [null]}', '{"open": [1]}', '{"open": [["closed"]]}', '{"open": [{"closed": 1}]}',
    '{"open": [true]}',
    -- empty names
    '{"": ["closed"]}', '{"open": [""]}', '{"open": ["closed", ""]}',
    -- no fate
    '{}', '{"open": ["open"]}', '{"a": ["b"], "b": ["a"]}',
    '{"a": ["b"], "b": ["c"], "c": ["a", "b"]}',
    -- to itself
    '{"open": ["open", "closed"]}'
]) command;

-- A graph may have cycles, lone fates, states given twice, and any names.
CREATE FUNCTION round_trip(graph jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE state text;
BEGIN
    EXECUTE 'DROP TABLE IF EXISTS g, g_fates; CREATE TABLE g (id int PRIMARY KEY, state text)';
    PERFORM govern('g', graph);
    RETURN NEXT lifecycle('g');
    FOR state IN SELECT s FROM (
        SELECT jsonb_object_keys(graph) UNION
        SELECT jsonb_array_elements_text(value) FROM jsonb_each(graph)) AS states (s) ORDER BY s COLLATE "C"
    LOOP
        RETURN NEXT format('  %s: %s %s', state, is_fate('g', state), allowed_transitions('g', state));
    END LOOP;
END $$;
SELECT round_trip('{"open": ["closed"]}');
SELECT round_trip('{"only": []}');
SELECT round_trip('{"a": ["b"], "b": ["a", "c"], "c": []}');
SELECT round_trip('{"open": ["closed", "closed", "void", "closed"]}');
SELECT round_trip('{" ": ["Ü \"quoted\" \\ back"], "x''y": ["; DROP TABLE t"], "%s": ["null"]}');

-- A name may be longer than an identifier.
CREATE TABLE long (id int PRIMARY KEY, state text);
SELECT govern('long', jsonb_build_object(repeat('x', 300), jsonb_build_array(repeat('x', 299))));
SELECT is_fate('long', repeat('x', 300)), is_fate('long', repeat('x', 299));

-- Hundreds of states are found as well as two.
CREATE TABLE many (id int PRIMARY KEY, state text);
SELECT govern('many', (SELECT jsonb_object_agg('s' || n, jsonb_build_array('s' || n + 1, 's' || n + 7))
                       FROM generate_series(1, 500) n));
SELECT count(*) FROM generate_series(1, 500) n
WHERE allowed_transitions('many', 's' || n) = ARRAY['s' || n + 1, 's' || n + 7]
  AND NOT is_fate('many', 's' || n);
SELECT n FROM generate_series(501, 507) n WHERE is_fate('many', 's' || n);
