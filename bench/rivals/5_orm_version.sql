-- ORM with a version column, no ledger
BEGIN;
SELECT version AS seen, * FROM petition_submissions WHERE id = :id \gset orm_
UPDATE petition_submissions SET state = 'ACKNOWLEDGED', updated_at = now(), version = :orm_seen + 1
WHERE id = :id AND version = :orm_seen;
COMMIT;
