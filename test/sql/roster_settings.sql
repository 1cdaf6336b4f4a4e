-- Whatever a session has set, a filter selects the same rows, ids have the same
-- text forms, and both have the same hash.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
RESET client_min_messages;

CREATE SCHEMA setting;
CREATE TYPE setting.stay AS (since timestamptz, days interval);
CREATE TABLE setting.t (id int, day date, stamp timestamptz, local timestamp, at timetz, span interval, real float8, single float4, bits bytea, cash money,
	rel regclass, proc regprocedure, typ regtype, dates date[], texts text[], stay setting.stay, period tstzrange, doc jsonb, num numeric);
CREATE TABLE setting."Rel" ();
SET DateStyle = 'ISO, MDY';
SET TimeZone = 'UTC';
SET IntervalStyle = 'postgres';
SET lc_monetary = 'C';
INSERT INTO setting.t VALUES
	(1, '2026-01-02', '2026-01-02 03:04:05', '2026-01-02 03:04:05', '03:04+01', '-1 day -02:00', 0.1::float8 + 0.2, 0.1, '\x00ff', '1234.5', 'setting."Rel"', 'pg_catalog.lower(text)', 'setting.stay',
		'{2026-01-02}', ARRAY['a', NULL], ROW('2026-01-02 03:04:05', '1 day'), '[2026-01-02 03:04:05,)', '{"a": 1.10}', 1.10),
	(2, '2026-02-01', '2026-01-01 22:04:05', '2026-02-01 03:04:05', '03:04+00', '-1 day 02:00', 0.3, 0.2, 'x', '12.34', 'pg_catalog.pg_class', 'pg_catalog.upper(text)', 'pg_catalog.int4',
		'{2026-02-01}', ARRAY['a', 'NULL'], ROW('2026-02-01 03:04:05', '1 day'), '[2026-02-01 03:04:05,)', '{"a": 2}', 2);
-- what would mislead a session whose search_path it is in
CREATE SCHEMA hostile;
CREATE TABLE hostile.pg_class ();
CREATE TABLE hostile."Rel" ();
CREATE TYPE hostile.stay AS (a int);
CREATE TYPE hostile.int4 AS (a int);
CREATE FUNCTION hostile.lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
RESET ALL;
\set SHOW_CONTEXT never

CREATE TABLE setting.asked (nr serial, filter text);
INSERT INTO setting.asked (filter) VALUES ('day:2026-01-02'), ('day:1/2/2026'), ('day:"02 Jan 2026"'), ('stamp:"2026-01-02 03:04:05"'), ('stamp:2026-01-02T03:04:05'), ('stamp:>=2026-01-02'),
	('stamp:"2026-01-02 04:04:05+01"'), ('stamp:"2026-01-01 22:04:05 EST"'), ('stamp:"2026-01-02 05:04:05 IST"'), ('local:"1/2/2026 3:04:05"'), ('at:03:04'), ('at:03:04+01'), ('span:"-1 day -02:00"'), ('span:"-1 2:00"'), ('span:"-1 day 02:00"'),
	('real:0.30000000000000004'), ('real:0.3'), ('single:0.1'), ('bits:"\\x00ff"'), ('bits:"\\000\\377"'), ('cash:1234.50'), ('cash:"1,234.5"'), ('cash:"$12.34"'), ('rel:"setting.\"Rel\""'), ('rel:"\"Rel\""'), ('rel:pg_class'), ('rel:pg_catalog.pg_class'),
	('typ:int4'), ('typ:setting.stay'), ('typ:stay'), ('proc:"lower(text)"'), ('proc:"pg_catalog.lower(text)"'), ('dates:"{1/2/2026}"'), ('texts:"{a,NULL}"'), ('texts:"{a,\"NULL\"}"'), ('stay:"(1/2/2026 3:04:05,24:00)"'), ('period:"[1/2/2026 3:04:05,)"'), ('doc:"{\"a\": 1.1}"'), ('num:1.1');

-- everything that is asked, and what became of it
CREATE FUNCTION setting.answers() RETURNS TABLE (what text, answer text) LANGUAGE plpgsql AS $$
DECLARE
	key name;
	question text;
	ids text[];
	hash text;
	valid boolean;
BEGIN
	FOR question IN SELECT filter FROM setting.asked ORDER BY nr LOOP
		what := question;
		BEGIN
			SELECT r.resolved_ids::text INTO answer FROM public.resolve_roster('setting.t'::pg_catalog.regclass, question) AS r;
		EXCEPTION WHEN OTHERS THEN
			answer := sqlstate || ': ' || sqlerrm;
		END;
		RETURN NEXT;
	END LOOP;
	FOR key IN SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = 'setting.t'::pg_catalog.regclass AND attnum > 1 ORDER BY attnum LOOP
		SELECT r.resolved_ids, r.roster_hash INTO ids, hash FROM public.resolve_roster('setting.t'::pg_catalog.regclass, '', key_column => key) AS r;
		SELECT v.valid INTO valid FROM public.validate_roster('setting.t'::pg_catalog.regclass, '', ids, hash, key_column => key) AS v;
		what := key;
		answer := ids::text || ' ' || hash || ' ' || valid;
		RETURN NEXT;
	END LOOP;
END $$;
CREATE TABLE setting.quiet AS SELECT * FROM setting.answers();
SELECT * FROM setting.quiet;

-- the hash of arrays and of an aggregate, too
CREATE FUNCTION setting.hashes() RETURNS text[] LANGUAGE sql AS $$
	SELECT ARRAY[public.roster_hash(pg_catalog.array_agg(rel)), public.roster_hash_agg(rel), public.roster_hash(pg_catalog.array_agg(cash)), public.roster_hash_agg(cash),
		public.roster_hash_agg(typ), public.roster_hash_agg(proc), public.roster_hash_agg(stay)] FROM setting.t
$$;
SELECT setting.hashes() AS quiet \gset

SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Asia/Kathmandu';
SET timezone_abbreviations = 'India';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -15;
SET bytea_output = 'escape';
SET quote_all_identifiers = on;
SET array_nulls = off;
SET xmloption = 'document';
SET search_path = hostile, setting, public, pg_catalog;
SELECT * FROM setting.answers() EXCEPT SELECT * FROM setting.quiet;
SELECT setting.hashes() = :'quiet'::text[] AS same;
-- what was set is as it was, after errors too, within a transaction and in one
-- that has failed
CREATE FUNCTION setting.now_set() RETURNS text LANGUAGE sql AS $$
	SELECT pg_catalog.string_agg(pg_catalog.current_setting(s), ' ' ORDER BY s)
	FROM pg_catalog.unnest('{DateStyle,TimeZone,timezone_abbreviations,IntervalStyle,extra_float_digits,bytea_output,quote_all_identifiers,array_nulls,xmloption,search_path,lc_monetary}'::text[]) AS s
$$;
SELECT setting.now_set() AS before \gset
BEGIN;
SAVEPOINT s;
-- the server's hint is worded otherwise from 18 on
\set VERBOSITY terse
SELECT resolve_roster('setting.t', 'day:13/13/2026');
ROLLBACK TO s;
SELECT setting.now_set() = :'before' AS restored;
SELECT validate_roster('setting.t', '', '{2026-13-13}', '', key_column => 'day');
\set VERBOSITY default
ROLLBACK;
SELECT setting.now_set() = :'before' AS restored;
SELECT roster_hash(ARRAY[ROW(timestamptz '2026-01-02 UTC', E'\n')]);
SELECT setting.now_set() = :'before' AS restored, now()::date::text ~ '^\d\d/\d\d/\d{4}$' AS in_effect;
-- the source's own code runs under them
CREATE VIEW setting.v AS SELECT id, current_setting('DateStyle') AS style FROM setting.t;
SELECT resolved_ids FROM resolve_roster('setting.v', 'style:"SQL, DMY"');
RESET ALL;

-- a temporary relation comes last
CREATE TEMP TABLE pg_class ();
SELECT resolved_ids FROM resolve_roster('setting.t', 'rel:pg_class');
SELECT * FROM setting.answers() EXCEPT SELECT * FROM setting.quiet;
DROP TABLE pg_temp.pg_class;

SET client_min_messages = warning;
DROP SCHEMA setting, hostile CASCADE;
