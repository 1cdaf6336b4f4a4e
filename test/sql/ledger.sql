-- The ledger: what it says, who is named, and that it only grows.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_ledger;
SET search_path = test_ledger, public;

CREATE TABLE cases (id int PRIMARY KEY, state text DEFAULT 'open');
SELECT govern('cases', '{"open": ["closed", "void"]}');
INSERT INTO cases SELECT n FROM generate_series(1, 9) n;

-- Who, when, and in which transaction.
RESET petition_cas.actor;
BEGIN;
UPDATE cases SET state = 'closed' WHERE id = 1;
SELECT id, from_state, fate, assigned_at = now(), assigned_by = session_user, transaction_id = pg_current_xact_id() FROM cases_fates;
COMMIT;
-- SET LOCAL works through a transaction pooler.
BEGIN;
SET LOCAL petition_cas.actor = 'Clerk "No. 1"';
UPDATE cases SET state = 'void' WHERE id = 2;
COMMIT;
UPDATE cases SET state = 'void' WHERE id = 3;
SET petition_cas.actor = 'session''s';
UPDATE cases SET state = 'void' WHERE id = 4;
SET petition_cas.actor = '';
UPDATE cases SET state = 'void' WHERE id = 5;
SELECT id, CASE WHEN assigned_by = session_user THEN '(session_user)' ELSE assigned_by END FROM cases_fates ORDER BY 1;

-- Not the current user: the session's.
CREATE ROLE regress_clerk;
GRANT USAGE ON SCHEMA test_ledger TO regress_clerk;
GRANT SELECT, UPDATE ON cases TO regress_clerk;
SET ROLE regress_clerk;
UPDATE cases SET state = 'void' WHERE id = 6;
-- The caller needs no right on the ledger, and gets none.
SELECT told($$ SELECT * FROM cases_fates $$);
SELECT told($$ INSERT INTO cases_fates VALUES (7, NULL, 'closed', now(), 'me', '1') $$);
RESET ROLE;
SELECT assigned_by = session_user FROM cases_fates WHERE id = 6;
SET SESSION AUTHORIZATION regress_clerk;
UPDATE cases SET state = 'void' WHERE id = 7;
RESET SESSION AUTHORIZATION;
SELECT assigned_by FROM cases_fates WHERE id = 7;
DROP OWNED BY regress_clerk;
DROP ROLE regress_clerk;

-- The DETAIL quotes what needs it.
SELECT told($$ SELECT compare_and_swap(NULL::cases, '2', 'open', 'closed') $$);

-- It only grows.
SELECT told($$ UPDATE cases_fates SET fate = 'void' WHERE id = 1 $$);
SELECT told($$ UPDATE cases_fates SET assigned_by = 'me' $$);
SELECT told($$ DELETE FROM cases_fates WHERE id = 1 $$);
SELECT told($$ TRUNCATE cases_fates $$);
SELECT told($$ INSERT INTO cases_fates VALUES (1, NULL, 'void', now(), 'me', '1') ON CONFLICT (id) DO UPDATE SET fate = 'void' $$);
SELECT told($$ INSERT INTO cases_fates VALUES (1, NULL, 'void', now(), 'me', '1') $$);
SELECT told($$ MERGE INTO cases_fates f USING (VALUES (1)) v (id) ON f.id = v.id WHEN MATCHED THEN DELETE $$);
SELECT id, fate FROM cases_fates ORDER BY 1;

-- It doubles as an outbox: a trigger on it sees each fate in its transaction.
CREATE TABLE outbox (n int GENERATED ALWAYS AS IDENTITY, id int, fate text, role_is_caller boolean);
CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO outbox (id, fate, role_is_caller) VALUES (NEW.id, NEW.fate, current_user = session_user); RETURN NULL; END $$;
CREATE TRIGGER announce AFTER INSERT ON cases_fates FOR EACH ROW EXECUTE FUNCTION announce();
SELECT compare_and_swap(NULL::cases, '8', 'open', 'closed');
UPDATE cases SET state = 'closed' WHERE id = 9;
SELECT id, fate, role_is_caller FROM outbox ORDER BY n;

-- An import whose fate the ledger has already is fine, with another it is not.
INSERT INTO cases_fates VALUES (10, 'open', 'void', now(), 'earlier', '1'), (11, 'open', 'void', now(), 'earlier', '1');
SELECT told($$ INSERT INTO cases VALUES (10, 'closed') $$);
INSERT INTO cases VALUES (10, 'void'), (11, 'open');
SELECT told($$ UPDATE cases SET state = 'void' WHERE id = 11 $$);
SELECT id, assigned_by FROM cases_fates WHERE id > 9 ORDER BY 1;
