-- 1,000 transactions of assign_fate
SELECT assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
