-- PL/pgSQL function and trigger, told the outcome
SELECT * FROM try_decide(:id, 'DELIBERATING', 'ACKNOWLEDGED');
