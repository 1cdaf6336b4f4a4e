-- petition_cas: FROM assign_fate, in columns
SELECT * FROM assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
