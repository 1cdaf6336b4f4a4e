-- assign_fates: many petitions in one statement, an outcome for each.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_assign_fates;
SET search_path = test_assign_fates, public;

SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state)
SELECT pid(n), 'text', CASE WHEN n % 5 = 0 THEN 'RECEIVED' ELSE 'DELIBERATING' END FROM generate_series(1, 20) n;
SELECT told($$ SELECT state FROM assign_fate(pid(3), 'DELIBERATING', 'ESCALATED') $$);

-- In the order of the input, which is not that of the ids.
SELECT * FROM assign_fates(ARRAY[pid(4), pid(99), pid(3), pid(1), pid(5), pid(2)], 'DELIBERATING', 'REFERRED', 'in bulk');
SELECT id, state, fate_reason, updated_at = created_at FROM petition_submissions WHERE id <= pid(5) ORDER BY id;
SELECT id, from_state, fate, assigned_by FROM petition_submissions_fates ORDER BY id;

-- An id given twice counts once; afterwards it finds what its first time left.
SELECT * FROM assign_fates(ARRAY[pid(6), pid(6), pid(99), pid(5), pid(6), pid(99), pid(5), pid(3), pid(3)], 'DELIBERATING', 'REFERRED');
SELECT fate_reason IS NULL FROM petition_submissions WHERE id = pid(6);

-- Off the graph.
SELECT * FROM assign_fates(ARRAY[pid(5), pid(10), pid(6), pid(7), pid(99)], 'RECEIVED', 'REFERRED');
SELECT * FROM assign_fates(ARRAY[pid(5), pid(7)], 'RECEIVED', 'DELIBERATING');
-- Nothing, in one dimension or two.
SELECT * FROM assign_fates('{}', 'DELIBERATING', 'REFERRED');
SELECT * FROM assign_fates(ARRAY[[pid(7), pid(8)], [pid(9), pid(7)]], 'DELIBERATING', 'REFERRED');

-- Mistakes.
SELECT told($$ SELECT * FROM assign_fates(NULL, 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT * FROM assign_fates(ARRAY[pid(11), NULL], 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT * FROM assign_fates(ARRAY[pid(11)], NULL, 'REFERRED') $$);
SELECT told($$ SELECT * FROM assign_fates(ARRAY[pid(11)], 'DELIBERATING', NULL) $$);
SELECT told($$ SELECT * FROM assign_fates(ARRAY[pid(11)], 'DELIBERATING', 'NOTHING') $$);
SELECT told($$ SELECT * FROM assign_fates('{}', 'NOTHING', 'REFERRED') $$);
SELECT state FROM petition_submissions WHERE id = pid(11);

-- Above READ COMMITTED it is the same.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM assign_fates(ARRAY[pid(12), pid(99), pid(1), pid(10), pid(11), pid(12)], 'DELIBERATING', 'ESCALATED', 'rr');
SELECT * FROM assign_fates(ARRAY[pid(12)], 'DELIBERATING', 'ESCALATED');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM assign_fates(ARRAY[pid(13), pid(99), pid(1), pid(10), pid(14), pid(13)], 'DELIBERATING', 'ESCALATED');
COMMIT;
-- What fails for all of them fails, rather than being done one by one.
CREATE FUNCTION one_by_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM changed) > 1 THEN RAISE 'too many at once'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER one_by_one AFTER UPDATE ON petition_submissions REFERENCING NEW TABLE AS changed EXECUTE FUNCTION one_by_one();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT told($$ SELECT a FROM assign_fates(ARRAY[pid(16), pid(17)], 'DELIBERATING', 'ESCALATED') a $$);
SELECT told($$ SELECT a FROM assign_fates(ARRAY[pid(16)], 'DELIBERATING', 'ESCALATED') a $$);
COMMIT;
DROP TRIGGER one_by_one ON petition_submissions;

-- Nothing is executed for no petition.
CREATE FUNCTION not_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$;
CREATE TRIGGER not_here BEFORE UPDATE ON petition_submissions EXECUTE FUNCTION not_here();
SELECT * FROM assign_fates('{}', 'DELIBERATING', 'REFERRED');
DROP TRIGGER not_here ON petition_submissions;

-- At READ COMMITTED it takes no subtransaction, which would have an id of its own.
BEGIN;
SELECT outcome FROM assign_fates(ARRAY[pid(17), pid(18)], 'DELIBERATING', 'ESCALATED');
SELECT (assign_fate(pid(19), 'DELIBERATING', 'ESCALATED')).state;
SELECT count(*) FROM petition_submissions WHERE xmin = pg_current_xact_id()::xid;
COMMIT;

-- Thousands.
INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM generate_series(10001, 15000) n;
SELECT outcome, current_state, count(*), count(DISTINCT submission_id)
FROM assign_fates(ARRAY(SELECT pid(n) FROM generate_series(14999, 9999, -1) n), 'DELIBERATING', 'REFERRED')
GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FROM petition_submissions_fates WHERE id > pid(10000);
SELECT verify_fates('petition_submissions');
