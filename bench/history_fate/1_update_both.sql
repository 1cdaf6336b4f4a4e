-- bare UPDATE with ledger and history row
WITH moved AS (
    UPDATE petition_submissions SET state = 'ACKNOWLEDGED'
    WHERE id = :id AND state = 'DELIBERATING'
    RETURNING id, state
), recorded AS (
    INSERT INTO petition_submissions_fates (id, from_state, fate, assigned_at, assigned_by, transaction_id)
    SELECT id, 'DELIBERATING', state, now(), session_user, pg_current_xact_id() FROM moved
), kept AS (
    INSERT INTO petition_submissions_history (id, from_state, to_state, moved_at, moved_by, transaction_id)
    SELECT id, 'DELIBERATING', state, clock_timestamp(), session_user, pg_current_xact_id() FROM moved
)
SELECT 'assigned', state FROM moved;
