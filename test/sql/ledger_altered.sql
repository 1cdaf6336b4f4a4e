-- A trigger of the owner that changes what goes into the ledger is found out
-- before the fate is assigned, and what it raises is not taken for a conflict in
-- the ledger.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ledger_altered;
SET search_path = ledger_altered, public;

CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT govern('cases', '{"open": ["granted", "denied"]}');
INSERT INTO cases VALUES (1, 'open'), (2, 'open');

CREATE FUNCTION alter_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE tg_argv[0]
        WHEN 'fate' THEN new.fate := 'denied';
        WHEN 'key' THEN new.id := new.id + 100;
        WHEN 'actor' THEN new.assigned_by := upper(new.assigned_by);
    END CASE;
    RETURN new;
END $$;

CREATE TRIGGER altering BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION alter_row('fate');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 1$$);
SELECT told($$INSERT INTO cases VALUES (3, 'granted')$$);
-- what it makes of this is what was to be recorded
SELECT told($$INSERT INTO cases VALUES (4, 'denied')$$);

CREATE OR REPLACE TRIGGER altering BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION alter_row('key');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 1$$);
SELECT told($$INSERT INTO cases VALUES (3, 'granted')$$);
SELECT told($$SELECT compare_and_swap(null::cases, '1', 'open', 'granted')$$);

-- nor may it tell anything else than what was to be recorded
CREATE OR REPLACE TRIGGER altering BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION alter_row('actor');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 1$$);
SELECT told($$INSERT INTO cases VALUES (3, 'granted')$$);

-- a rule that makes nothing of it
DROP TRIGGER altering ON cases_fates;
SELECT told('CREATE RULE nothing AS ON INSERT TO cases_fates DO INSTEAD NOTHING');
SET petition_cas.allow_unguard = on;
CREATE RULE nothing AS ON INSERT TO cases_fates DO INSTEAD NOTHING;
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 2$$);
DROP RULE nothing ON cases_fates;
RESET petition_cas.allow_unguard;

-- a key that is there twice in another table than the ledger is told as such
CREATE SCHEMA ledger_altered_2;
CREATE TABLE noted (id int PRIMARY KEY);
CREATE TABLE ledger_altered_2.cases_fates (id int PRIMARY KEY);
INSERT INTO noted VALUES (2);
INSERT INTO ledger_altered_2.cases_fates VALUES (2);
CREATE FUNCTION insert_elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %s VALUES ($1)', tg_argv[0]) USING new.id;
    RETURN new;
END $$;
CREATE FUNCTION raise_conflict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE tg_argv[0]
        WHEN 'nothing' THEN RAISE unique_violation;
        WHEN 'schema' THEN RAISE unique_violation USING SCHEMA = 'ledger_altered';
        WHEN 'table' THEN RAISE unique_violation USING TABLE = 'cases_fates';
        WHEN 'code' THEN RAISE check_violation USING TABLE = 'cases_fates', SCHEMA = 'ledger_altered';
    END CASE;
END $$;
CREATE TRIGGER elsewhere BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION insert_elsewhere('noted');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 2$$);
CREATE OR REPLACE TRIGGER elsewhere BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION insert_elsewhere('ledger_altered_2.cases_fates');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 2$$);
CREATE OR REPLACE TRIGGER elsewhere BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION raise_conflict('nothing');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 2$$);
CREATE OR REPLACE TRIGGER elsewhere BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION raise_conflict('schema');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 2$$);
CREATE OR REPLACE TRIGGER elsewhere BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION raise_conflict('table');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 2$$);
CREATE OR REPLACE TRIGGER elsewhere BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION raise_conflict('code');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 2$$);
DROP TRIGGER elsewhere ON cases_fates;

SELECT * FROM verify_fates('cases');
SELECT id, fate, assigned_by FROM cases_fates ORDER BY id;

DROP SCHEMA ledger_altered, ledger_altered_2 CASCADE;
