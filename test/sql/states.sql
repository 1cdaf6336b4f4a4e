-- State columns of every type that they may have. A lifecycle names states by their
-- text form.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_states;
SET search_path = test_states, public;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN d_text AS text;
CREATE DOMAIN d_varchar AS varchar(8);
CREATE DOMAIN d_char AS char(6) CHECK (VALUE <> 'x');
CREATE DOMAIN d_int AS int CHECK (VALUE >= 0);
CREATE DOMAIN d_mood AS mood;
CREATE DOMAIN d_d_int AS d_int;
CREATE DOMAIN d_bool AS boolean;

-- One table for each type: from the first state the second can be reached, from
-- that the fates, third and fourth.
CREATE FUNCTION try_type(type text, a text, b text, c text, d text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    t text := 't_' || translate(type, '() ', '');
    graph jsonb := jsonb_build_object(a, ARRAY[b], b, ARRAY[c, d]);
BEGIN
    EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, state %s)', t, type);
    RETURN NEXT t || ': ' || govern(t::regclass, graph);
    EXECUTE format('INSERT INTO %I SELECT n, %L FROM generate_series(1, 5) n', t, a);
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('SELECT (compare_and_swap(NULL::%I, 1, %L, %L)).state', t, a, b));
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('SELECT (compare_and_swap(NULL::%I, 1, %L, %L)).state', t, b, c));
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('SELECT compare_and_swap(NULL::%I, 1, %L, %L)', t, b, d));
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('SELECT try_compare_and_swap(NULL::%I, 2, %L, %L)', t, b, d));
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('UPDATE %I SET state = %L WHERE id = 2', t, b));
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('UPDATE %I SET state = %L WHERE id = 2', t, d));
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('UPDATE %I SET state = %L WHERE id = 2', t, c));
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('UPDATE %I SET state = NULL WHERE id = 3', t));
    RETURN QUERY EXECUTE format('SELECT told(%L)', format('INSERT INTO %I VALUES (6, %L)', t, c));
    RETURN QUERY EXECUTE format('SELECT string_agg(id || '' '' || coalesce(from_state, ''-'') || '' '' || fate, '', '' ORDER BY id) FROM %I', t || '_fates');
    RETURN QUERY EXECUTE format('SELECT ''problem: '' || problem FROM verify_fates(%L)', t);
END $$;
SELECT try_type('text', 'open', 'packing', 'shipped', 'lost');
SELECT try_type('varchar(8)', 'open', 'packing', 'shipped', 'lost');
SELECT try_type('char(9)', 'open', 'packing', 'shipped', 'lost in');
SELECT try_type('smallint', '0', '1', '2', '-3');
SELECT try_type('integer', '0', '1', '2', '2147483647');
SELECT try_type('bigint', '0', '1', '2', '-9223372036854775808');
SELECT try_type('uuid', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-000000000003', 'ffffffff-0000-0000-0000-000000000004');
SELECT try_type('d_text', 'open', 'packing', 'shipped', 'lost');
SELECT try_type('d_varchar', 'open', 'packing', 'shipped', 'lost');
SELECT try_type('d_char', 'open', 'packed', 'gone', 'lost');
SELECT try_type('d_int', '0', '1', '2', '3');
SELECT try_type('d_d_int', '0', '1', '2', '3');

-- A boolean has two states, an enum here three.
CREATE TABLE animals (id int PRIMARY KEY, is_alive boolean NOT NULL DEFAULT true);
SELECT govern('animals', '{"true": ["false"]}', state_column => 'is_alive');
INSERT INTO animals VALUES (1), (2);
INSERT INTO animals VALUES (3, false);
SELECT try_compare_and_swap(NULL::animals, 1, 'true', 'false');
SELECT told($$SELECT compare_and_swap(NULL::animals, 1, 'true', 'false')$$);
SELECT told($$UPDATE animals SET is_alive = true WHERE id = 3$$);
SELECT told($$SELECT compare_and_swap(NULL::animals, 2, 't', 'f')$$);
SELECT * FROM verify_fates('animals');
CREATE TABLE d_animals (id int PRIMARY KEY, state d_bool);
SELECT govern('d_animals', '{"false": ["true"]}');
INSERT INTO d_animals VALUES (1, false);
SELECT compare_and_swap(NULL::d_animals, 1, 'false', 'true');
CREATE TABLE moods (id int PRIMARY KEY, state d_mood);
SELECT govern('moods', '{"sad": ["ok"], "ok": ["happy"]}');
INSERT INTO moods VALUES (1, 'sad'), (2, 'ok');
SELECT compare_and_swap(NULL::moods, 2, 'ok', 'happy');
SELECT told($$UPDATE moods SET state = 'happy' WHERE id = 1$$);
SELECT * FROM verify_fates('moods');

-- States that a column could not tell apart, or would print in another way.
CREATE FUNCTION refused(type text, state text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE refused (id int PRIMARY KEY, state %s)', type);
    RETURN QUERY SELECT told(format('SELECT govern(''refused'', %L)', jsonb_build_object(state, ARRAY['1'])));
    DROP TABLE refused;
END $$;
SELECT refused('int', s) FROM unnest(ARRAY['01', '+1', '1.0', ' 1', '1 ', 'one', '', '2147483648', '-0']) s;
SELECT refused('smallint', '32768');
SELECT refused('bigint', '9223372036854775808');
SELECT refused('boolean', s) FROM unnest(ARRAY['t', 'TRUE', '1', 'yes']) s;
SELECT refused('uuid', s) FROM unnest(ARRAY['FFFFFFFF-0000-0000-0000-000000000004', 'ffffffff00000000-0000-000000000004', '1']) s;
SELECT refused('char(3)', 'a ');
SELECT refused('char(3)', 'abcd');
SELECT refused('d_varchar', 'too long a state');
SELECT refused('mood', 'angry');

-- A generated column: plain SQL moves it.
CREATE TABLE parcels (id int PRIMARY KEY, sent date, arrived date,
    state text GENERATED ALWAYS AS (CASE WHEN arrived IS NOT NULL THEN 'arrived' WHEN sent IS NOT NULL THEN 'sent' ELSE 'new' END) STORED);
SELECT govern('parcels', '{"new": ["sent"], "sent": ["arrived"]}');
INSERT INTO parcels VALUES (1), (2);
UPDATE parcels SET sent = '2026-01-01' WHERE id = 1;
UPDATE parcels SET arrived = '2026-01-02' WHERE id = 1;
SELECT told($$UPDATE parcels SET arrived = NULL WHERE id = 1$$);
SELECT told($$UPDATE parcels SET arrived = '2026-01-02' WHERE id = 2$$);
SELECT told($$SELECT compare_and_swap(NULL::parcels, 2, 'new', 'sent')$$);
SELECT told($$SELECT try_compare_and_swap(NULL::parcels, 2, 'new', 'sent')$$);
SELECT told($$ALTER TABLE parcels DROP arrived CASCADE$$);
SELECT id, from_state, fate FROM parcels_fates;
SELECT * FROM verify_fates('parcels');

-- The order of labels or an alias of a state's type does not matter, its padding
-- neither, and a lookup table may stand behind.
CREATE TABLE codes (id int PRIMARY KEY, name text);
INSERT INTO codes VALUES (1, 'new'), (2, 'solved'), (3, 'closed');
CREATE TABLE tickets (id int PRIMARY KEY, state_id int NOT NULL REFERENCES codes);
SELECT govern('tickets', '{"1": ["2"], "2": ["1", "3"]}', state_column => 'state_id');
INSERT INTO tickets VALUES (1, 1);
SELECT compare_and_swap(NULL::tickets, 1, '1', '2');
SELECT compare_and_swap(NULL::tickets, 1, '2', '3');
SELECT told($$UPDATE tickets SET state_id = 2$$);
SELECT extend_lifecycle('tickets', '{"1": ["4"]}');
SELECT told($$SELECT extend_lifecycle('tickets', '{"1": ["five"]}')$$);
