-- petition_cas: try_assign_fate
SELECT try_assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
