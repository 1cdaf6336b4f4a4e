-- The lifecycle of a governed table can be asked for, with its fates.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_lifecycle;
SET search_path = test_lifecycle, public;

SELECT petition_lifecycle();
SELECT create_petitions();
SELECT lifecycle('petition_submissions') = petition_lifecycle();
SELECT allowed_transitions('petition_submissions', 'RECEIVED');
SELECT allowed_transitions('petition_submissions', 'DELIBERATING');
SELECT allowed_transitions('petition_submissions', 'REFERRED');
SELECT s, is_fate('petition_submissions', s)
FROM unnest('{RECEIVED,DELIBERATING,ACKNOWLEDGED,REFERRED,ESCALATED}'::text[]) s;

-- A state that is not in it is an error that names those that are.
SELECT told($$ SELECT is_fate('petition_submissions', 'LOST') $$);
SELECT told($$ SELECT allowed_transitions('petition_submissions', 'referred') $$);
SELECT told($$ SELECT is_fate('petition_submissions', '') $$);

-- So is a table that is not governed.
CREATE TABLE plain (id int PRIMARY KEY, state text);
CREATE VIEW seen AS SELECT * FROM plain;
SELECT told($$ SELECT lifecycle('plain') $$);
SELECT told($$ SELECT allowed_transitions('plain', 'RECEIVED') $$);
SELECT told($$ SELECT is_fate('plain', 'RECEIVED') $$);
SELECT told($$ SELECT lifecycle_diagram('plain') $$);
SELECT told($$ SELECT lifecycle('seen') $$);
SELECT told($$ SELECT lifecycle('petition_submissions_fates') $$);
SELECT told($$ SELECT lifecycle(0) $$);
SELECT told($$ SELECT lifecycle('petition_submissions_pkey') $$);

-- No function returns null for a null.
SELECT told($$ SELECT lifecycle(NULL) $$);
SELECT told($$ SELECT allowed_transitions(NULL, 'RECEIVED') $$);
SELECT told($$ SELECT allowed_transitions('petition_submissions', NULL) $$);
SELECT told($$ SELECT is_fate(NULL, 'RECEIVED') $$);
SELECT told($$ SELECT is_fate('petition_submissions', NULL) $$);
SELECT told($$ SELECT lifecycle_diagram(NULL) $$);
SELECT told($$ SELECT extend_lifecycle(NULL, '{}') $$);
SELECT told($$ SELECT extend_lifecycle('petition_submissions', NULL) $$);
SELECT told($$ SELECT govern(NULL, '{}') $$);
SELECT told($$ SELECT govern('plain', NULL) $$);
SELECT told($$ SELECT govern('plain', '{}', 'id', NULL) $$);
SELECT told($$ SELECT ungovern(NULL) $$);
SELECT told($$ SELECT verify_fates(NULL) $$);
SELECT told($$ SELECT backfill_fates(NULL) $$);

-- A state may lead to many others, in the order in which they are named.
CREATE TABLE many (id int PRIMARY KEY, state text);
SELECT govern('many', jsonb_build_object('open', (SELECT jsonb_agg('closed ' || n ORDER BY n DESC) FROM generate_series(1, 100) n)));
SELECT count(*), bool_and(state = 'closed ' || 101 - n)
FROM unnest(allowed_transitions('many', 'open')) WITH ORDINALITY AS t (state, n);
