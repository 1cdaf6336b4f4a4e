-- bare UPDATE with history row
WITH moved AS (
    UPDATE petition_submissions SET state = 'HEARD'
    WHERE id = :id AND state = 'DELIBERATING'
    RETURNING id, state
), kept AS (
    INSERT INTO petition_submissions_history (id, from_state, to_state, moved_at, moved_by, transaction_id)
    SELECT id, 'DELIBERATING', state, clock_timestamp(), session_user, pg_current_xact_id() FROM moved
)
SELECT 'assigned', state FROM moved;
