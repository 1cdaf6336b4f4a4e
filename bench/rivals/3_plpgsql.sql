-- PL/pgSQL function and trigger
SELECT * FROM decide(:id, 'DELIBERATING', 'ACKNOWLEDGED');
