-- A ledger, and a governed table, stand alone: what is done to a parent, a
-- partitioned table or a type would be done to them unseen.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ddl_relatives;
SET search_path = ddl_relatives, public;

CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT govern('cases', '{"open": ["granted", "denied"]}');
INSERT INTO cases VALUES (1, 'granted'), (2, 'open');
CREATE TABLE parent (LIKE cases_fates);
CREATE TABLE partitioned (LIKE cases_fates) PARTITION BY LIST (assigned_by);
CREATE TABLE partitioned_cases (LIKE cases) PARTITION BY LIST (id);
CREATE TYPE fate AS (id int, from_state text, fate text, assigned_at timestamptz,
    assigned_by text, transaction_id xid8, reason text, request_id text, evidence_hash text);

SELECT told('ALTER TABLE cases_fates INHERIT parent');
SELECT told('ALTER TABLE partitioned ATTACH PARTITION cases_fates DEFAULT');
SELECT told('ALTER TABLE cases_fates OF fate');
SELECT told('CREATE TABLE child () INHERITS (cases_fates)');
SELECT told('ALTER TABLE parent INHERIT cases_fates');
SELECT told('ALTER TABLE partitioned_cases ATTACH PARTITION cases DEFAULT');

-- nor is a ledger taken over that has come by relatives meanwhile
CREATE FUNCTION take_over(change text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ungovern('cases');
    EXECUTE change;
    RETURN QUERY SELECT told('SELECT govern(''cases'', ''{"open": ["granted", "denied"]}'')');
    RAISE 'undo' USING ERRCODE = 'YY000';
EXCEPTION WHEN SQLSTATE 'YY000' THEN
END $$;
SELECT take_over('ALTER TABLE cases_fates INHERIT parent');
SELECT take_over('ALTER TABLE partitioned ATTACH PARTITION cases_fates DEFAULT');
SELECT take_over('ALTER TABLE cases_fates OF fate');
SELECT take_over('CREATE TABLE child () INHERITS (cases_fates)');


-- nor one that is partitioned: its partitions could be emptied
ALTER TABLE cases RENAME TO cases_1;
CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT ungovern('cases_1');
ALTER TABLE cases_fates RENAME TO cases_1_fates;
CREATE TABLE cases_fates (LIKE cases_1_fates, PRIMARY KEY (id)) PARTITION BY HASH (id);
SELECT told($$SELECT govern('cases', '{"open": ["granted", "denied"]}')$$);
DROP TABLE cases, cases_fates;
ALTER TABLE cases_1 RENAME TO cases;
ALTER TABLE cases_1_fates RENAME TO cases_fates;
SELECT govern('cases', '{"open": ["granted", "denied"]}');

SELECT * FROM verify_fates('cases');
SELECT id, fate FROM cases_fates;

DROP SCHEMA ddl_relatives CASCADE;
