-- assign_fates writes its ledger rows together, and nobody can see a difference.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
CREATE SCHEMA bulk_ledger;
SET search_path = bulk_ledger, public;
SET petition_cas.actor = 'anna';
SELECT create_petitions();
CREATE FUNCTION pid(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
CREATE FUNCTION pids(a int, b int) RETURNS uuid[] LANGUAGE sql AS $$ SELECT array_agg(pid(n)) FROM generate_series(a, b) n $$;
INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM generate_series(1, 60) n;
CREATE VIEW recorded AS
SELECT min(id::text) AS first, max(id::text) AS last, count(*), from_state, fate, assigned_by,
    count(DISTINCT transaction_id) AS transactions, count(DISTINCT assigned_at) AS times
FROM petition_submissions_fates GROUP BY from_state, fate, assigned_by ORDER BY 1;

-- all are recorded, as single ones are
SELECT outcome, count(*) FROM assign_fates(pids(1, 10), 'DELIBERATING', 'REFERRED') GROUP BY outcome;
SELECT * FROM recorded;
SELECT * FROM verify_fates('petition_submissions');

-- a fate that the ledger holds from an earlier row, in the midst of others
INSERT INTO petition_submissions_fates VALUES (pid(15), NULL, 'ESCALATED', now(), 'before', pg_current_xact_id());
SELECT * FROM assign_fates(pids(11, 20), 'DELIBERATING', 'REFERRED');
SELECT id FROM petition_submissions_fates WHERE id > pid(10);
SELECT count(*) FROM petition_submissions WHERE id BETWEEN pid(11) AND pid(20) AND state = 'DELIBERATING';

-- the same above READ COMMITTED, and caught by the caller
BEGIN ISOLATION LEVEL REPEATABLE READ;
DO $$
BEGIN
    PERFORM assign_fates(pids(14, 16), 'DELIBERATING', 'REFERRED');
EXCEPTION WHEN SQLSTATE 'PF002' THEN
    RAISE WARNING 'caught: %', SQLERRM;
END $$;
SELECT outcome, count(*) FROM assign_fates(pids(16, 18), 'DELIBERATING', 'REFERRED') GROUP BY outcome;
COMMIT;
SELECT id, fate FROM petition_submissions_fates WHERE id > pid(10) ORDER BY id;

-- a trigger that looks at the ledger finds the row there
CREATE FUNCTION looks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM petition_submissions_fates WHERE id = NEW.id) THEN
        RAISE 'no ledger row for %', NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER zz_looks AFTER UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION looks();
SELECT outcome, count(*) FROM assign_fates(pids(21, 25), 'DELIBERATING', 'REFERRED') GROUP BY outcome;
DROP TRIGGER zz_looks ON petition_submissions;

-- what a trigger of the row undoes is not recorded, what it does is
CREATE FUNCTION meddles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id <> pid(26) OR NEW.state <> 'REFERRED' THEN
        RETURN NEW;
    END IF;
    PERFORM assign_fate(pid(31), 'DELIBERATING', 'REFERRED');
    PERFORM assign_fates(pids(33, 34), 'DELIBERATING', 'REFERRED');
    BEGIN
        PERFORM assign_fate(pid(32), 'DELIBERATING', 'REFERRED');
        PERFORM assign_fates(pids(35, 36), 'DELIBERATING', 'REFERRED');
        RAISE 'undo';
    EXCEPTION WHEN raise_exception THEN
        RETURN NEW;
    END;
END $$;
CREATE TRIGGER meddles BEFORE UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION meddles();
SELECT outcome, count(*) FROM assign_fates(pids(26, 30), 'DELIBERATING', 'REFERRED') GROUP BY outcome;
DROP TRIGGER meddles ON petition_submissions;
SELECT id FROM petition_submissions_fates WHERE id > pid(25) ORDER BY id;
SELECT key FROM verify_fates('petition_submissions');

-- triggers and rules on the ledger are called for each row
CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING '% % % %', TG_WHEN, TG_LEVEL, NEW.id, NEW.fate;
    RETURN NEW;
END $$;
CREATE TRIGGER notes AFTER INSERT ON petition_submissions_fates FOR EACH ROW EXECUTE FUNCTION notes();
SELECT outcome, count(*) FROM assign_fates(pids(41, 42), 'DELIBERATING', 'REFERRED') GROUP BY outcome;
DROP TRIGGER notes ON petition_submissions_fates;
CREATE FUNCTION swallows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN NEW.id = pid(44) THEN NULL ELSE NEW END;
END $$;
CREATE TRIGGER swallows BEFORE INSERT ON petition_submissions_fates FOR EACH ROW EXECUTE FUNCTION swallows();
SELECT outcome, count(*) FROM assign_fates(pids(43, 45), 'DELIBERATING', 'REFERRED') GROUP BY outcome;
DROP TRIGGER swallows ON petition_submissions_fates;

-- a row that a policy of the ledger would refuse, and a column of one's own
ALTER TABLE petition_submissions_fates ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE petition_submissions_fates ADD COLUMN note text NOT NULL DEFAULT 'none';
SELECT outcome, count(*) FROM assign_fates(pids(46, 50), 'DELIBERATING', 'REFERRED') GROUP BY outcome;
SELECT note, count(*) FROM petition_submissions_fates WHERE id >= pid(46) GROUP BY note;

SELECT * FROM verify_fates('petition_submissions');
DROP TABLE petition_submissions, petition_submissions_fates CASCADE;
DROP SCHEMA bulk_ledger CASCADE;
