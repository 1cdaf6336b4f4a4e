-- one set-based UPDATE of the state alone, with ledger
WITH fated AS (
    UPDATE petition_submissions SET state = 'ACKNOWLEDGED'
    WHERE id = ANY (:ids) AND state = 'DELIBERATING'
    RETURNING id, state
), recorded AS (
    INSERT INTO petition_submissions_fates (id, from_state, fate, assigned_at, assigned_by, transaction_id)
    SELECT id, 'DELIBERATING', state, now(), session_user, pg_current_xact_id() FROM fated
)
SELECT * FROM fated;
