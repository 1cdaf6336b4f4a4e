-- assign_fate: what the caller gets, and what the loser is told, in order.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_assign_fate;
SET search_path = test_assign_fate, public;

SELECT create_petitions();
INSERT INTO petition_submissions (id, type, text, submitter_id, state, content_hash, realm, created_at, updated_at)
SELECT pid(n), 'MEMORIAL', 'text ' || n, pid(1000 + n), CASE WHEN n = 9 THEN 'RECEIVED' ELSE 'DELIBERATING' END,
    sha256('x'), 'north', '2026-01-19', '2026-01-19'
FROM generate_series(1, 9) n;

-- CAS success: DELIBERATING to all three fates.
SELECT told($$ SELECT state FROM assign_fate(pid(1), 'DELIBERATING', 'ACKNOWLEDGED') $$);
SELECT told($$ SELECT state FROM assign_fate(pid(2), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT state FROM assign_fate(pid(3), 'DELIBERATING', 'ESCALATED', 'too large') $$);
-- From RECEIVED straight to a fate.
SELECT told($$ SELECT state FROM assign_fate(pid(9), 'RECEIVED', 'ACKNOWLEDGED') $$);

-- The row comes back as it is stored. Other fields are preserved; the time of
-- the update is set, and the reason where one is given.
SELECT id, type, text, submitter_id, state, content_hash = sha256('x') AS hash, realm, fate_reason,
    created_at = '2026-01-19' AS created, updated_at > '2026-01-20' AS updated
FROM petition_submissions WHERE state <> 'DELIBERATING' ORDER BY id;
UPDATE petition_submissions SET fate_reason = 'from before', updated_at = '2026-01-19' WHERE id IN (pid(4), pid(5));
SELECT fate_reason, updated_at = now() FROM assign_fate(pid(4), 'DELIBERATING', 'REFERRED');
SELECT (assign_fate(pid(5), 'DELIBERATING', 'REFERRED', '')).fate_reason = '';
SELECT fate_reason FROM petition_submissions WHERE id IN (pid(4), pid(5)) ORDER BY id;
SELECT id, from_state, fate, assigned_by FROM petition_submissions_fates ORDER BY id;
-- Also one that is stored out of line.
INSERT INTO petition_submissions (id, text)
SELECT pid(11), left(string_agg(md5(n::text), ''), 10000) FROM generate_series(1, 400) n;
CREATE TEMP TABLE returned AS SELECT assign_fate(pid(11), 'RECEIVED', 'ACKNOWLEDGED', 'long') AS petition;
SELECT length((petition).text), petition::text = stored::text AS as_stored, pg_column_size(stored.text) = 10000 AS not_compressed
FROM returned, petition_submissions AS stored WHERE id = pid(11);

-- Not found.
SELECT told($$ SELECT assign_fate(pid(99), 'DELIBERATING', 'REFERRED') $$);
-- Already fated, whatever is expected, and whatever is wanted.
SELECT told($$ SELECT assign_fate(pid(1), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(pid(1), 'ACKNOWLEDGED', 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(pid(1), 'RECEIVED', 'DELIBERATING') $$);
-- Assigning the same fate again tells whose it is.
SELECT told($$ SELECT assign_fate(pid(1), 'DELIBERATING', 'ACKNOWLEDGED') $$);
-- State mismatch.
SELECT told($$ SELECT assign_fate(pid(6), 'RECEIVED', 'ACKNOWLEDGED') $$);
SELECT told($$ SELECT assign_fate(pid(6), 'REFERRED', 'ESCALATED') $$);
-- Invalid transition: off the graph, or to a state that is no fate.
INSERT INTO petition_submissions (id, text) VALUES (pid(10), 'new');
SELECT told($$ SELECT assign_fate(pid(10), 'RECEIVED', 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(pid(10), 'RECEIVED', 'RECEIVED') $$);
SELECT told($$ SELECT assign_fate(pid(10), 'RECEIVED', 'DELIBERATING') $$);
SELECT told($$ SELECT assign_fate(pid(6), 'DELIBERATING', 'RECEIVED') $$);

-- In this order: not found, fated, another state, off the graph.
SELECT told($$ SELECT assign_fate(pid(99), 'DELIBERATING', 'RECEIVED') $$);
SELECT told($$ SELECT assign_fate(pid(2), 'DELIBERATING', 'RECEIVED') $$);
SELECT told($$ SELECT assign_fate(pid(6), 'RECEIVED', 'REFERRED') $$);

-- A failed call changes nothing.
SELECT id, state, fate_reason, updated_at = '2026-01-19' FROM petition_submissions WHERE id = pid(6);
SELECT count(*) FROM petition_submissions_fates WHERE id IN (pid(6), pid(10), pid(99));

-- Unknown states and nulls are the caller's mistakes.
SELECT told($$ SELECT assign_fate(pid(6), 'DELIBERATING', 'FORGOTTEN') $$);
SELECT told($$ SELECT assign_fate(pid(6), 'deliberating', 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(pid(99), '', 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(NULL, 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(pid(6), NULL, 'REFERRED') $$);
SELECT told($$ SELECT assign_fate(pid(6), 'DELIBERATING', NULL) $$);
SELECT told($$ SELECT assign_fate('x', 'DELIBERATING', 'REFERRED') $$);

-- The error names table and schema for programs.
DO $$
DECLARE t text; s text;
BEGIN
    PERFORM assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
EXCEPTION WHEN SQLSTATE 'PF002' THEN
    GET STACKED DIAGNOSTICS t = TABLE_NAME, s = SCHEMA_NAME;
    RAISE WARNING '%.%', s, t;
END $$;

-- NFR-3.2, one after the other: of ten attempts in one transaction one wins.
BEGIN;
SELECT left(t, 5), count(*) FROM generate_series(1, 10) n,
    told(format($$ SELECT state FROM assign_fate(pid(7), 'DELIBERATING', %L) $$,
                (ARRAY['ACKNOWLEDGED', 'REFERRED', 'ESCALATED'])[1 + n % 3])) t
WHERE t !~ '^  ' GROUP BY 1 ORDER BY 2;
COMMIT;
SELECT id, fate FROM petition_submissions_fates WHERE id = pid(7);

-- Named arguments, and a prepared statement many times.
SELECT (assign_fate(submission_id => pid(8), expected_state => 'DELIBERATING', new_state => 'REFERRED', reason => 'r')).fate_reason;
INSERT INTO petition_submissions (id, text) SELECT pid(n), 'n' FROM generate_series(101, 120) n;
PREPARE fate(uuid) AS SELECT (assign_fate($1, 'RECEIVED', 'ACKNOWLEDGED')).state;
EXECUTE fate(pid(101));
EXECUTE fate(pid(102));
SELECT count((assign_fate(id, 'RECEIVED', 'ACKNOWLEDGED')).id) FROM petition_submissions WHERE id BETWEEN pid(103) AND pid(120);
SELECT count(*) FROM petition_submissions_fates WHERE id > pid(100);

-- There is no petition table on the search_path, or it is not governed, or
-- by other columns.
SET search_path = public;
SELECT told($$ SELECT assign_fate(pid(1), 'DELIBERATING', 'REFERRED') $$);
SET search_path = test_assign_fate, public;
BEGIN;
SELECT ungovern('petition_submissions');
SELECT told($$ SELECT assign_fate(pid(1), 'DELIBERATING', 'REFERRED') $$);
ROLLBACK;
CREATE SCHEMA test_assign_fate_other;
SET search_path = test_assign_fate_other, public;
CREATE TABLE petition_submissions (id int PRIMARY KEY, state text);
SELECT govern('petition_submissions', '{"open": ["closed"]}');
SELECT told($$ SELECT assign_fate(pid(1), 'open', 'closed') $$);
SELECT told($$ SELECT * FROM assign_fates(ARRAY[pid(1)], 'open', 'closed') $$);
DROP TABLE petition_submissions, petition_submissions_fates;
CREATE TABLE petition_submissions (id uuid PRIMARY KEY, number uuid NOT NULL UNIQUE, state text, status text);
BEGIN;
SELECT govern('petition_submissions', '{"open": ["closed"]}', key_column => 'number');
SELECT told($$ SELECT assign_fate(pid(1), 'open', 'closed') $$);
ROLLBACK;
SELECT govern('petition_submissions', '{"open": ["closed"]}', state_column => 'status');
SELECT told($$ SELECT assign_fate(pid(1), 'open', 'closed') $$);

-- In a transaction that only reads.
SET search_path = test_assign_fate, public;
BEGIN READ ONLY;
SELECT told($$ SELECT assign_fate(pid(6), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT try_assign_fate(pid(6), 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT * FROM assign_fates(ARRAY[pid(6)], 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT compare_and_swap(NULL::petition_submissions, '', 'DELIBERATING', 'REFERRED') $$);
SELECT told($$ SELECT try_compare_and_swap(NULL::petition_submissions, '', 'DELIBERATING', 'REFERRED') $$);
COMMIT;
SELECT verify_fates('petition_submissions');
