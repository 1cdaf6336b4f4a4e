-- petition_cas: assign_fates
SELECT * FROM assign_fates(:ids, 'DELIBERATING', 'ACKNOWLEDGED');
