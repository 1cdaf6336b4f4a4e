-- extend_lifecycle adds states and transitions, never a way out of a fate.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_lifecycle_extend;
SET search_path = test_lifecycle_extend, public;

SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state) VALUES
    (pid(1), 'one', 'DELIBERATING'), (pid(2), 'two', 'DELIBERATING');
SELECT told($$ SELECT state FROM assign_fate(pid(1), 'DELIBERATING', 'DEFERRED') $$);
SELECT extend_lifecycle('petition_submissions', '{"DELIBERATING": ["DEFERRED"]}');
SELECT lifecycle('petition_submissions');
SELECT is_fate('petition_submissions', 'DEFERRED');
SELECT told($$ SELECT state FROM assign_fate(pid(1), 'DELIBERATING', 'DEFERRED') $$);
SELECT id, from_state, fate FROM petition_submissions_fates;

-- A state between, with a new fate behind it.
SELECT extend_lifecycle('petition_submissions', '{"DELIBERATING": ["HEARING"], "HEARING": ["ACKNOWLEDGED", "WITHDRAWN"]}');
SELECT allowed_transitions('petition_submissions', 'HEARING');
SELECT is_fate('petition_submissions', 'HEARING'), is_fate('petition_submissions', 'WITHDRAWN');
SELECT (compare_and_swap(NULL::petition_submissions, pid(2)::text, 'DELIBERATING', 'HEARING')).state;

-- What is there already, and nothing, may be added.
SELECT extend_lifecycle('petition_submissions', '{"DELIBERATING": ["DEFERRED"]}') = lifecycle('petition_submissions');
SELECT extend_lifecycle('petition_submissions', '{}') = lifecycle('petition_submissions');
SELECT extend_lifecycle('petition_submissions', '{"DEFERRED": []}') = lifecycle('petition_submissions');
-- A fate that nothing leads to yet.
SELECT extend_lifecycle('petition_submissions', '{"LAPSED": []}');
SELECT is_fate('petition_submissions', 'LAPSED');

-- Ways out of a fate, and JSON that is no lifecycle.
SELECT told($$ SELECT extend_lifecycle('petition_submissions', '{"ACKNOWLEDGED": ["RECEIVED"]}') $$);
SELECT told($$ SELECT extend_lifecycle('petition_submissions', '{"DEFERRED": ["ACKNOWLEDGED"]}') $$);
SELECT told($$ SELECT extend_lifecycle('petition_submissions', '{"LAPSED": ["X"]}') $$);
SELECT told($$ SELECT extend_lifecycle('petition_submissions', '{"RECEIVED": [""]}') $$);
SELECT told($$ SELECT extend_lifecycle('petition_submissions', '["RECEIVED"]') $$);
SELECT told($$ SELECT extend_lifecycle('petition_submissions', '{"RECEIVED": ["RECEIVED"]}') $$);

-- The column has to have room for it.
CREATE TABLE short (id int PRIMARY KEY, state varchar(6));
SELECT govern('short', '{"open": ["closed"]}');
SELECT told($$ SELECT extend_lifecycle('short', '{"open": ["rejected"]}') $$);
CREATE TYPE mood AS ENUM ('open', 'closed');
CREATE TABLE moods (id int PRIMARY KEY, state mood);
SELECT govern('moods', '{"open": ["closed"]}');
SELECT told($$ SELECT extend_lifecycle('moods', '{"open": ["lost"]}') $$);
ALTER TYPE mood ADD VALUE 'lost';
SELECT extend_lifecycle('moods', '{"open": ["lost"]}');

-- Guard and verdict are the same as after govern.
SELECT verify_fates('petition_submissions');
SELECT tgname, tgenabled FROM pg_trigger
WHERE tgrelid = 'petition_submissions'::regclass AND NOT tgisinternal ORDER BY 1;

-- It can be rolled back, in a session that has used the new state.
BEGIN;
SELECT extend_lifecycle('moods', '{"closed": [], "open": ["closed"]}');
INSERT INTO moods VALUES (1, 'lost'), (2, 'open');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT extend_lifecycle('short', '{"open": ["void"]}');
INSERT INTO short VALUES (1, 'void');
ROLLBACK TO s;
SELECT told($$ INSERT INTO short VALUES (1, 'void') $$);
COMMIT;

-- Only for a governed table, and its owner.
CREATE TABLE plain (id int PRIMARY KEY, state text);
SELECT told($$ SELECT extend_lifecycle('plain', '{"a": ["b"]}') $$);
CREATE ROLE regress_stranger;
GRANT ALL ON SCHEMA test_lifecycle_extend TO regress_stranger;
GRANT ALL ON petition_submissions TO regress_stranger;
SET ROLE regress_stranger;
SELECT told($$ SELECT extend_lifecycle('petition_submissions', '{"RECEIVED": ["LAPSED"]}') $$);
RESET ROLE;
DROP OWNED BY regress_stranger;
DROP ROLE regress_stranger;
