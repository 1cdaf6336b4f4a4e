-- bare UPDATE of an order with ledger row
WITH fated AS (
    UPDATE orders SET state = 3
    WHERE tenant = :tenant AND id = :n AND state = 2
    RETURNING *
), recorded AS (
    INSERT INTO orders_fates (tenant, id, from_state, fate, assigned_at, assigned_by, transaction_id)
    SELECT tenant, id, '2', state::text, now(), session_user, pg_current_xact_id() FROM fated
)
SELECT * FROM fated;
