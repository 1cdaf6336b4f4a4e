-- petition_cas: assign_fate
SELECT assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
