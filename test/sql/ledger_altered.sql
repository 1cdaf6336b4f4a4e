-- A trigger of the owner that changes what goes into the ledger is found out
-- before the fate is assigned.
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

CREATE OR REPLACE TRIGGER altering BEFORE INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION alter_row('actor');
SELECT told($$UPDATE cases SET state = 'granted' WHERE id = 1$$);
SELECT told($$INSERT INTO cases VALUES (3, 'granted')$$);

SELECT * FROM verify_fates('cases');
SELECT id, fate, assigned_by FROM cases_fates ORDER BY id;

DROP SCHEMA ledger_altered CASCADE;
