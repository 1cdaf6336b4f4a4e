-- bare UPDATE, no ledger
UPDATE petition_submissions SET state = 'ACKNOWLEDGED', updated_at = now()
WHERE id = :id AND state = 'DELIBERATING'
RETURNING *;
