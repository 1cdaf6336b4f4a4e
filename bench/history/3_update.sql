-- petition_cas: UPDATE, with history
UPDATE petition_submissions SET state = 'HEARD'
WHERE id = :id AND state = 'DELIBERATING'
RETURNING 'assigned', state;
