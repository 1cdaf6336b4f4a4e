-- petition_cas: try_assign_fate, outcome and state
SELECT try_assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
