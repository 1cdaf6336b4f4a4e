-- Fates live and die with their (sub)transaction.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_savepoints;
SET search_path = test_savepoints, public;

\set VERBOSITY terse
SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state) SELECT pid(n), 'text', 'DELIBERATING' FROM generate_series(1, 9) n;
CREATE VIEW fates AS SELECT p.id, p.state, f.fate FROM petition_submissions p LEFT JOIN petition_submissions_fates f USING (id);

-- Rolled back, it was never assigned.
BEGIN;
SELECT state FROM assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
ROLLBACK;
SELECT * FROM fates WHERE id = pid(1);
SELECT state FROM assign_fate(pid(1), 'DELIBERATING', 'ESCALATED');

-- Rolled back to a savepoint, it can be assigned anew in the same transaction.
BEGIN;
SAVEPOINT s;
SELECT state FROM assign_fate(pid(2), 'DELIBERATING', 'REFERRED');
SELECT * FROM try_assign_fate(pid(2), 'DELIBERATING', 'ESCALATED');
ROLLBACK TO s;
SELECT * FROM fates WHERE id = pid(2);
SELECT state FROM assign_fate(pid(2), 'DELIBERATING', 'ESCALATED');
ROLLBACK TO s;
SELECT * FROM try_assign_fate(pid(2), 'DELIBERATING', 'ACKNOWLEDGED');
RELEASE s;
COMMIT;
SELECT * FROM fates WHERE id = pid(2);

-- An error leaves the savepoint before it usable.
BEGIN;
SELECT state FROM assign_fate(pid(3), 'DELIBERATING', 'REFERRED');
SAVEPOINT s;
SELECT assign_fate(pid(3), 'DELIBERATING', 'ESCALATED');
\echo :SQLSTATE
SELECT 1;
\echo :SQLSTATE
ROLLBACK TO s;
SELECT state FROM assign_fate(pid(4), 'DELIBERATING', 'ESCALATED');
COMMIT;
SELECT * FROM fates WHERE id IN (pid(3), pid(4)) ORDER BY id;

-- The ledger's transaction is the topmost.
BEGIN;
SAVEPOINT s;
SELECT state FROM assign_fate(pid(5), 'DELIBERATING', 'REFERRED');
SELECT transaction_id = pg_current_xact_id() FROM petition_submissions_fates WHERE id = pid(5);
COMMIT;

-- The same above READ COMMITTED, where each swap has a subtransaction inside.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SAVEPOINT s;
SELECT state FROM assign_fate(pid(6), 'DELIBERATING', 'REFERRED');
ROLLBACK TO s;
SELECT * FROM try_assign_fate(pid(6), 'DELIBERATING', 'ESCALATED');
SELECT * FROM try_assign_fate(pid(6), 'DELIBERATING', 'REFERRED');
SAVEPOINT t;
SELECT assign_fate(pid(6), 'DELIBERATING', 'REFERRED');
ROLLBACK TO t;
COMMIT;
SELECT * FROM fates WHERE id = pid(6);

-- In PL/pgSQL a loser may be caught.
DO $$
BEGIN
    PERFORM assign_fate(pid(7), 'DELIBERATING', 'REFERRED');
    BEGIN
        PERFORM assign_fate(pid(7), 'DELIBERATING', 'ESCALATED');
    EXCEPTION WHEN SQLSTATE 'PF002' THEN
        RAISE WARNING 'lost';
    END;
    PERFORM assign_fate(pid(8), 'DELIBERATING', 'ESCALATED');
END $$;
SELECT * FROM fates WHERE id IN (pid(7), pid(8)) ORDER BY id;
-- A row made and decided in one transaction, and taken back in part.
BEGIN;
INSERT INTO petition_submissions (id, text) VALUES (pid(20), 'x');
SAVEPOINT s;
SELECT state FROM assign_fate(pid(20), 'RECEIVED', 'ACKNOWLEDGED');
ROLLBACK TO s;
DELETE FROM petition_submissions WHERE id = pid(20);
SELECT * FROM try_assign_fate(pid(20), 'RECEIVED', 'ACKNOWLEDGED');
COMMIT;
SELECT verify_fates('petition_submissions');
