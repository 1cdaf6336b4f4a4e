-- assign_fate, and NOTIFY by a trigger on the ledger
SELECT assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
