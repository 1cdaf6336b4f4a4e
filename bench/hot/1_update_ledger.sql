-- bare UPDATE with ledger row
WITH fated AS (
    UPDATE petition_submissions SET state = 'ACKNOWLEDGED', updated_at = now()
    WHERE id = :id AND state = 'DELIBERATING'
    RETURNING *
), recorded AS (
    INSERT INTO petition_submissions_fates (id, from_state, fate, assigned_at, assigned_by, transaction_id)
    SELECT id, 'DELIBERATING', state, now(), session_user, pg_current_xact_id() FROM fated
)
SELECT * FROM fated;
