-- try_assign_fate returns the outcome and the present state, and raises
-- nothing for the four outcomes of a loser.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_try_assign_fate;
SET search_path = test_try_assign_fate, public;

SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state)
SELECT pid(n), 'text', CASE WHEN n < 5 THEN 'DELIBERATING' ELSE 'RECEIVED' END FROM generate_series(1, 9) n;

SELECT * FROM try_assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
SELECT * FROM try_assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
SELECT * FROM try_assign_fate(pid(1), 'DELIBERATING', 'ESCALATED');
SELECT * FROM try_assign_fate(pid(2), 'RECEIVED', 'ACKNOWLEDGED');
SELECT * FROM try_assign_fate(pid(5), 'RECEIVED', 'ESCALATED');
SELECT * FROM try_assign_fate(pid(5), 'RECEIVED', 'DELIBERATING');
SELECT * FROM try_assign_fate(pid(99), 'RECEIVED', 'DELIBERATING');
SELECT * FROM try_assign_fate(pid(3), 'DELIBERATING', 'ESCALATED', 'because');
SELECT fate_reason FROM petition_submissions WHERE id = pid(3);
SELECT pg_typeof(t), (t).outcome, (t).current_state FROM try_assign_fate(pid(3), 'DELIBERATING', 'ESCALATED') t;

-- Check, then act: a client that reads first loses nothing by it.
SELECT state, (try_assign_fate(id, state, 'ACKNOWLEDGED')).* FROM petition_submissions ORDER BY id;
SELECT count(*) FROM petition_submissions_fates;

-- Retry: a client that lost by PF001 reads the state it was told, and decides
-- again on that.
INSERT INTO petition_submissions (id, text, state) VALUES (pid(20), 'text', 'DELIBERATING');
SELECT second.* FROM try_assign_fate(pid(20), 'RECEIVED', 'ACKNOWLEDGED') first,
    try_assign_fate(pid(20), first.current_state, 'REFERRED') second;

-- Mistakes are raised all the same.
SELECT told($$ SELECT try_assign_fate(pid(20), 'DELIBERATING', 'FORGOTTEN') $$);
SELECT told($$ SELECT try_assign_fate(NULL, 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT try_assign_fate(pid(20), NULL, 'REFERRED') $$);
SELECT told($$ SELECT try_assign_fate(pid(20), 'DELIBERATING', NULL) $$);

-- So is a fate that the ledger holds for an earlier row with the same id.
INSERT INTO petition_submissions (id, text) VALUES (pid(30), 'again');
INSERT INTO petition_submissions_fates VALUES (pid(30), 'RECEIVED', 'ACKNOWLEDGED', now(), 'somebody', pg_current_xact_id());
SELECT told($$ SELECT try_assign_fate(pid(30), 'RECEIVED', 'ACKNOWLEDGED') $$);
SELECT told($$ SELECT assign_fate(pid(30), 'RECEIVED', 'ACKNOWLEDGED') $$);
SELECT told($$ SELECT * FROM assign_fates(ARRAY[pid(30)], 'RECEIVED', 'ACKNOWLEDGED') $$);
SELECT told($$ UPDATE petition_submissions SET state = 'ACKNOWLEDGED' WHERE id = pid(30) $$);
SELECT state FROM petition_submissions WHERE id = pid(30);
