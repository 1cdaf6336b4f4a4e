-- assign_fate, and NOTIFY in the next transaction
SELECT assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
NOTIFY fates;
