-- application: BEGIN, SELECT, UPDATE, INSERT, COMMIT
BEGIN;
SELECT * FROM petition_submissions WHERE id = :id;
UPDATE petition_submissions SET state = 'ACKNOWLEDGED', updated_at = now()
WHERE id = :id AND state = 'DELIBERATING';
INSERT INTO petition_submissions_fates (id, from_state, fate, assigned_at, assigned_by, transaction_id)
VALUES (:id, 'DELIBERATING', 'ACKNOWLEDGED', now(), session_user, pg_current_xact_id());
COMMIT;
