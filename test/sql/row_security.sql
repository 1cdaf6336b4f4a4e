-- A row that row security hides is one that does not exist, and nothing more
-- is told of it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_row_security;
SET search_path = test_row_security, public;

CREATE ROLE regress_owner;
CREATE ROLE regress_north;
GRANT ALL ON SCHEMA test_row_security TO regress_owner, regress_north;
SET ROLE regress_owner;
SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state, realm)
SELECT pid(n), 'text', 'DELIBERATING', CASE WHEN n < 10 THEN 'north' ELSE 'south' END FROM generate_series(1, 20) n;
SELECT (assign_fate(pid(9), 'DELIBERATING', 'ESCALATED')).state, (assign_fate(pid(19), 'DELIBERATING', 'ESCALATED')).state;
GRANT SELECT, INSERT, UPDATE, DELETE ON petition_submissions TO regress_north;
GRANT SELECT ON petition_submissions_fates TO regress_north;
ALTER TABLE petition_submissions ENABLE ROW LEVEL SECURITY;
CREATE POLICY north ON petition_submissions TO regress_north USING (realm = 'north');

SET ROLE regress_north;
SELECT told($$ SELECT (assign_fate(pid(1), 'DELIBERATING', 'REFERRED')).state $$);
SELECT told($$ SELECT assign_fate(pid(11), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(pid(19), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT compare_and_swap(NULL::petition_submissions, pid(19)::text, 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT try_assign_fate(pid(19), 'RECEIVED', 'REFERRED') $$);
SELECT * FROM assign_fates(ARRAY[pid(1), pid(2), pid(11), pid(19), pid(9)], 'DELIBERATING', 'REFERRED');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM assign_fates(ARRAY[pid(3), pid(12), pid(19)], 'DELIBERATING', 'REFERRED');
SELECT told($$ SELECT assign_fate(pid(12), 'DELIBERATING', 'REFERRED') $$);
COMMIT;
-- A row that is seen is told of in full.
SELECT told($$ SELECT assign_fate(pid(9), 'DELIBERATING', 'REFERRED') $$);
-- The guard withholds values: which row it was is not sure to be seen.
SELECT told($$ UPDATE petition_submissions SET state = 'REFERRED' WHERE id = pid(9) $$);
SELECT told($$ UPDATE petition_submissions SET state = 'RECEIVED' WHERE id = pid(4) $$);
SELECT told($$ DELETE FROM petition_submissions WHERE id = pid(9) $$);
SELECT told($$ INSERT INTO petition_submissions (id, text, state, realm) VALUES (pid(40), 'x', 'LOST', 'north') $$);

-- The ledger's own policies decide what of it the caller is told.
SET ROLE regress_owner;
ALTER TABLE petition_submissions_fates ENABLE ROW LEVEL SECURITY;
SET ROLE regress_north;
SELECT told($$ SELECT assign_fate(pid(9), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT try_assign_fate(pid(5), 'DELIBERATING', 'REFERRED') $$);
SELECT count(*) FROM petition_submissions_fates;

-- The plan that a session keeps is right for the role that it has now.
SET ROLE regress_owner;
SELECT told($$ SELECT try_assign_fate(pid(11), 'RECEIVED', 'ACKNOWLEDGED') $$);
SET ROLE regress_north;
SELECT told($$ SELECT try_assign_fate(pid(11), 'RECEIVED', 'ACKNOWLEDGED') $$);
SET ROLE regress_owner;
SELECT told($$ SELECT try_assign_fate(pid(11), 'DELIBERATING', 'ACKNOWLEDGED') $$);

-- FORCE ROW LEVEL SECURITY holds for the owner's calls, not for the guard.
ALTER TABLE petition_submissions FORCE ROW LEVEL SECURITY;
SELECT told($$ SELECT assign_fate(pid(12), 'DELIBERATING', 'REFERRED') $$);
CREATE POLICY owners ON petition_submissions TO regress_owner USING (realm = 'south');
SELECT told($$ SELECT (assign_fate(pid(12), 'DELIBERATING', 'REFERRED')).state $$);
SELECT told($$ SELECT assign_fate(pid(8), 'DELIBERATING', 'REFERRED') $$);
SELECT verify_fates('petition_submissions');
SELECT backfill_fates('petition_submissions');

RESET ROLE;
SELECT id, state FROM petition_submissions WHERE state <> 'DELIBERATING' ORDER BY 1;
SELECT id, fate FROM petition_submissions_fates ORDER BY 1;
DROP OWNED BY regress_owner, regress_north CASCADE;
DROP ROLE regress_owner, regress_north;
