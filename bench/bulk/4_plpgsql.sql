-- one set-based UPDATE, PL/pgSQL trigger
UPDATE petition_submissions SET state = 'ACKNOWLEDGED', updated_at = now()
WHERE id = ANY (:ids) AND state = 'DELIBERATING'
RETURNING id, state;
