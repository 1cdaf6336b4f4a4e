-- What the guard refuses on direct SQL, and what it lets through.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_guard;
SET search_path = test_guard, public;

CREATE TABLE cases (id int PRIMARY KEY, state text, note text);
SELECT govern('cases', '{"open": ["heard", "closed"], "heard": ["closed", "void", "open"]}');

-- INSERT: any state of the lifecycle; a row that arrives with its fate is recorded.
INSERT INTO cases VALUES (1, 'open'), (2, 'heard'), (3, 'closed'), (4, 'open'), (5, 'void'), (6, 'open'), (7, 'heard');
SELECT id, from_state, fate, assigned_by FROM cases_fates ORDER BY 1;
SELECT told($$ INSERT INTO cases VALUES (8, 'lost') $$);
SELECT told($$ INSERT INTO cases VALUES (8, 'OPEN') $$);
SELECT told($$ INSERT INTO cases VALUES (8, '') $$);
SELECT told($$ INSERT INTO cases VALUES (8, NULL) $$);
SELECT told($$ INSERT INTO cases VALUES (8, 'open'), (9, 'lost') $$);
SELECT count(*) FROM cases;

-- A direct UPDATE that the lifecycle allows is recorded just as a swap is.
UPDATE cases SET state = 'heard' WHERE id = 1;
UPDATE cases SET state = 'closed' WHERE id IN (1, 4);
SELECT id, from_state, fate FROM cases_fates WHERE id IN (1, 4) ORDER BY 1;
-- And back, where the lifecycle leads back.
UPDATE cases SET state = 'open' WHERE id = 2;
UPDATE cases SET state = 'heard' WHERE id = 2;

-- Off the graph, unknown, null.
SELECT told($$ UPDATE cases SET state = 'void' WHERE id = 6 $$);
SELECT told($$ UPDATE cases SET state = 'lost' WHERE id = 6 $$);
SELECT told($$ UPDATE cases SET state = NULL WHERE id = 6 $$);

-- FR-2.6, terminal states are for ever: no change, not to the state before
-- either, and not to null or to something unknown.
SELECT told($$ UPDATE cases SET state = 'void' WHERE id = 1 $$);
SELECT told($$ UPDATE cases SET state = 'open' WHERE id = 3 $$);
SELECT told($$ UPDATE cases SET state = NULL WHERE id = 3 $$);
SELECT told($$ UPDATE cases SET state = 'lost' WHERE id = 3 $$);
SELECT told($$ UPDATE cases SET state = CASE WHEN state = 'closed' THEN 'open' ELSE 'closed' END $$);
-- What is no change, and other columns, go through.
UPDATE cases SET state = 'closed', note = 'still' WHERE id = 3;
UPDATE cases SET note = upper(note);
SELECT * FROM cases ORDER BY id;

-- The key never changes, and a fated row stays.
SELECT told($$ UPDATE cases SET id = 60 WHERE id = 6 $$);
SELECT told($$ UPDATE cases SET id = 30 WHERE id = 3 $$);
SELECT told($$ UPDATE cases SET id = id + 100 $$);
UPDATE cases SET id = id;
SELECT told($$ DELETE FROM cases WHERE id = 3 $$);
SELECT told($$ DELETE FROM cases $$);
DELETE FROM cases WHERE id = 6;
SELECT told($$ TRUNCATE cases $$);
SELECT told($$ TRUNCATE cases, cases_fates $$);

-- A deleted row without a fate may come again, for the first time.
INSERT INTO cases VALUES (6, 'open');
UPDATE cases SET state = 'closed' WHERE id = 6;

-- Numbers that are equal but differ in their digits are one key for an index,
-- and a change for the guard.
CREATE TABLE amounts (id numeric PRIMARY KEY, state text);
SELECT govern('amounts', '{"open": ["closed"]}');
INSERT INTO amounts VALUES (1.0, 'open');
SELECT told($$ UPDATE amounts SET id = 1.00 $$);

-- An empty ledger does not hinder a TRUNCATE.
CREATE TABLE young (id int PRIMARY KEY, state text);
SELECT govern('young', '{"open": ["closed"]}');
INSERT INTO young VALUES (1, 'open');
TRUNCATE young;
BEGIN;
INSERT INTO young VALUES (1, 'closed');
SELECT told($$ TRUNCATE young $$);
ROLLBACK;
TRUNCATE young;

-- The guard judges the row as it is finally stored.
CREATE FUNCTION close_it() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.state := NEW.note; RETURN NEW; END $$;
CREATE TRIGGER zz_last BEFORE INSERT OR UPDATE ON young FOR EACH ROW EXECUTE FUNCTION close_it();
ALTER TABLE young ADD note text;
SELECT told($$ INSERT INTO young VALUES (1, 'open', 'nonsense') $$);
INSERT INTO young VALUES (1, 'nonsense', 'closed');
SELECT id, fate FROM young_fates;
SELECT told($$ UPDATE young SET note = 'open' $$);
DROP TRIGGER zz_last ON young;

-- Two changes in one transaction are two transitions.
BEGIN;
INSERT INTO cases VALUES (20, 'open');
UPDATE cases SET state = 'heard' WHERE id = 20;
UPDATE cases SET state = 'void' WHERE id = 20;
SELECT told($$ UPDATE cases SET state = 'closed' WHERE id = 20 $$);
SELECT told($$ DELETE FROM cases WHERE id = 20 $$);
COMMIT;
SELECT id, from_state, fate FROM cases_fates WHERE id = 20;

-- The trigger functions are for the triggers that govern creates. (The guard
-- against DDL refuses others.)
SET petition_cas.allow_unguard = on;
SELECT told($$ SELECT guard_fate() $$);
CREATE TABLE loose (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_guard AFTER INSERT ON loose FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state');
SELECT told($$ INSERT INTO loose VALUES (1, 'open') $$);
DROP TRIGGER petition_cas_guard ON loose;
CREATE TRIGGER petition_cas_guard BEFORE INSERT ON loose FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'loose_fates', '{"open": ["closed"]}');
SELECT told($$ INSERT INTO loose VALUES (1, 'open') $$);
DROP TRIGGER petition_cas_guard ON loose;
CREATE TRIGGER mine AFTER INSERT ON loose FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'loose_fates', '{"open": ["closed"]}');
SELECT told($$ INSERT INTO loose VALUES (1, 'open') $$);
DROP TRIGGER mine ON loose;
CREATE TRIGGER petition_cas_guard AFTER INSERT ON loose FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'loose_fates', 'no json');
SELECT told($$ INSERT INTO loose VALUES (1, 'open') $$);
DROP TRIGGER petition_cas_guard ON loose;
CREATE TRIGGER petition_cas_guard AFTER INSERT ON loose FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'loose_fates', '{"open": ["closed"]}');
SELECT told($$ INSERT INTO loose VALUES (1, 'open') $$);
SELECT told($$ INSERT INTO loose VALUES (2, 'closed') $$);
CREATE TRIGGER t BEFORE INSERT ON loose FOR EACH ROW EXECUTE FUNCTION guard_truncate();
SELECT told($$ INSERT INTO loose VALUES (2, 'open') $$);
SELECT verify_fates('cases');
