-- A column that governs, or one of a ledger's, cannot be replaced by a new one
-- of its name within one command.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ddl_replaced_columns;
SET search_path = ddl_replaced_columns, public;

CREATE TABLE cases (id int PRIMARY KEY, state text, note text);
SELECT govern('cases', '{"open": ["granted", "denied"]}');
INSERT INTO cases VALUES (1, 'granted'), (2, 'open');

SELECT told($$ALTER TABLE cases DROP COLUMN state, ADD COLUMN state text DEFAULT 'open'$$);
SELECT told($$ALTER TABLE cases DROP COLUMN id, ADD COLUMN id serial PRIMARY KEY$$);
SELECT told($$ALTER TABLE cases_fates DROP COLUMN fate, ADD COLUMN fate text NOT NULL DEFAULT 'denied'$$);
SELECT told($$ALTER TABLE cases_fates DROP COLUMN id, ADD COLUMN id serial PRIMARY KEY$$);

-- as attributes of a type
CREATE TYPE one_case AS (id int, state text, note text);
CREATE TABLE typed OF one_case (PRIMARY KEY (id));
SELECT govern('typed', '{"open": ["granted", "denied"]}');
INSERT INTO typed VALUES (1, 'granted');
SELECT told($$ALTER TYPE one_case DROP ATTRIBUTE state CASCADE, ADD ATTRIBUTE state text CASCADE$$);

-- other columns are free
SELECT told($$ALTER TABLE cases DROP COLUMN note, ADD COLUMN note text DEFAULT 'none'$$);
SELECT told($$ALTER TABLE cases_fates ADD COLUMN note text$$);
SELECT told($$ALTER TABLE cases_fates DROP COLUMN note, ADD COLUMN note text DEFAULT 'none'$$);
SELECT told($$ALTER TYPE one_case DROP ATTRIBUTE note CASCADE$$);
SELECT * FROM cases ORDER BY id;
SELECT id, fate FROM cases_fates;
SELECT * FROM typed;

DROP SCHEMA ddl_replaced_columns CASCADE;
