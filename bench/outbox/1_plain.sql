-- assign_fate
SELECT assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
