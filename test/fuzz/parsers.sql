-- Feeds mutated inputs to the parsers of lifecycles and filters, for a number
-- of seconds, through the functions that read them. These may return a result, or
-- raise the errors that they document. Anything else is a finding, and so is a
-- server that dies.
--
--   psql -v seconds=600 -f test/fuzz/parsers.sql
--
-- in a database with the extension; several of them may run at once.

\set ON_ERROR_STOP on
\if :{?seconds}
\else
\set seconds 60
\endif
SET client_min_messages = warning;
SET search_path = pg_temp, public;

CREATE TEMP TABLE seeds (parser text, input text);
INSERT INTO seeds VALUES
    ('filter', 'state:open realm:north'), ('filter', 'name:"quoted \"value\" \\"|b|"c d"'),
    ('filter', '-state:closed id:>=5 id:<=9 id:>1 id:<10'), ('filter', 'id:1..9 during:*'),
    ('filter', ''), ('filter', '-"a b":*'), ('filter', 'ä:ö|ü'), ('filter', 'a:"..".."x"'),
    ('lifecycle', '{"draft": ["open"], "open": ["won", "lost"]}'),
    ('lifecycle', '{"a": ["b", "c"], "b": ["a", "c"], "c": []}'),
    ('lifecycle', '{"ä\u00fc\"\\": ["\n", "x"], "\n": []}'),
    ('lifecycle', '{"a": [], "b": ["a", "a"], "c": ["b"]}'), ('lifecycle', '[{"a": 1}, null, "x", {}]');

-- Changes some characters: cuts, duplicates, inserts, splices with another seed.
CREATE FUNCTION pg_temp.mutate(input text, other text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    alphabet text := '":\|.-<>=*{}[],ab0 ä€𝄞' || E'\t\n\r\x01';
    result text := input;
    at int;
BEGIN
    FOR i IN 0 .. floor(random() * random() * 12)::int LOOP
        at := 1 + floor(random() * (length(result) + 1))::int;
        result := CASE floor(random() * 6)::int
            WHEN 0 THEN overlay(result placing '' from at for 1 + floor(random() * 5)::int)
            WHEN 1 THEN left(result, at - 1) || substr(alphabet, 1 + floor(random() * length(alphabet))::int, 1) || substr(result, at)
            WHEN 2 THEN overlay(result placing substr(alphabet, 1 + floor(random() * length(alphabet))::int, 1) from at for 1)
            WHEN 3 THEN left(result, at - 1) || substr(other, 1 + floor(random() * (length(other) + 1))::int)
            WHEN 4 THEN left(result, at) || repeat(substr(result, at, 1 + floor(random() * 8)::int), floor(random() * 20)::int) || substr(result, at)
            ELSE left(result, at - 1) || chr(1 + floor(random() * random() * 5000)::int) || substr(result, at)
        END;
    END LOOP;
    RETURN left(result, 4000);
END $$;

-- JSON of about the right shape: states from a few names, with values that are
-- mostly arrays of such.
CREATE FUNCTION pg_temp.graph() RETURNS text LANGUAGE sql AS $$
    SELECT jsonb_object_agg(names[1 + floor(random() * 9)::int],
        CASE WHEN random() < 0.95 THEN
            (SELECT coalesce(jsonb_agg(CASE WHEN random() < 0.98 THEN to_jsonb(names[1 + floor(random() * 9 + n * 0)::int])
                 ELSE '[{"x": []}, 1, null]'::jsonb -> floor(random() * 3)::int END), '[]')
             FROM generate_series(1, floor(random() * 5 + m * 0)::int) n)
        ELSE '[{"a": ["b"]}, "a", null, 0]'::jsonb -> floor(random() * 4)::int END)::text
    FROM generate_series(1, 1 + floor(random() * 6)::int) m,
        (SELECT ARRAY['draft', 'open', 'a', 'b', 'c', E'\n', 'ä"\', 'x', 'held'] AS names) s
$$;

CREATE TABLE pg_temp.findings (parser text, input text, sqlstate text, message text);
CREATE TABLE pg_temp.counts (parser text, outcome text, times bigint, PRIMARY KEY (parser, outcome));

-- Feeds one input; the outcome is 'ok' or the SQLSTATE.
CREATE FUNCTION pg_temp.feed(parser text, input text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    graph jsonb;
    extended jsonb;
    target regclass := current_setting('fuzz.target')::regclass;
BEGIN
    IF parser = 'filter' THEN
        -- what it makes of it is a jsonb that parses again
        PERFORM parse_filter(input)::text::jsonb;
    ELSE
        graph := input::jsonb;
        BEGIN
            extended := extend_lifecycle(target, graph);
            -- what is written back is read as the same
            IF extend_lifecycle(target, lifecycle(target)) <> extended OR lifecycle(target) <> extended THEN
                RAISE 'not the same when extended by itself' USING ERRCODE = 'XX000';
            END IF;
            PERFORM lifecycle_diagram(target);
            RAISE 'undo' USING ERRCODE = 'YY000';
        EXCEPTION WHEN SQLSTATE 'YY000' THEN
        END;
    END IF;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    IF NOT (parser = 'filter' AND sqlstate IN ('42601', '54000') OR
            parser = 'lifecycle' AND sqlstate IN ('22023', '22P02', '22P05', '22021', 'PF006')) THEN
        INSERT INTO findings VALUES (parser, input, sqlstate, sqlerrm);
    END IF;
    RETURN sqlstate;
END $$;

CREATE FUNCTION pg_temp.run(seconds int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + make_interval(secs => seconds);
    seed record;
BEGIN
    WHILE clock_timestamp() < deadline LOOP
        FOR seed IN SELECT a.parser, pg_temp.mutate(a.input, b.input) AS input
            FROM seeds a JOIN seeds b USING (parser)
            UNION ALL SELECT 'lifecycle', pg_temp.graph() FROM generate_series(1, 50) LOOP
            INSERT INTO counts VALUES (seed.parser, pg_temp.feed(seed.parser, seed.input), 1)
            ON CONFLICT (parser, outcome) DO UPDATE SET times = counts.times + 1;
        END LOOP;
    END LOOP;
END $$;

-- a table of this session alone
SELECT format('public.fuzzed_%s', pg_backend_pid()) AS target \gset
SELECT set_config('fuzz.target', :'target', false);
CREATE TABLE :target (id int PRIMARY KEY, state text);
SELECT govern(:'target', '{"draft": ["open"], "open": ["won", "lost"]}');

-- in transactions of a second
\o /dev/null
SELECT 'SELECT pg_temp.run(1)' FROM generate_series(1, :seconds) \gexec
\o

SELECT * FROM counts ORDER BY parser, outcome;
SELECT sum(times) AS inputs, (SELECT count(*) FROM findings) AS findings FROM counts;
SELECT DISTINCT ON (parser, sqlstate) * FROM findings;
DROP TABLE :target;
SELECT format('DROP TABLE %s_fates', :'target') \gexec
