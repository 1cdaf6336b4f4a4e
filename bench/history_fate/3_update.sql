-- petition_cas: UPDATE, with history
UPDATE petition_submissions SET state = 'ACKNOWLEDGED'
WHERE id = :id AND state = 'DELIBERATING'
RETURNING 'assigned', state;
