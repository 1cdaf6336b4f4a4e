-- petition_cas: compare_and_swap_many
SELECT * FROM compare_and_swap_many(NULL::petition_submissions, :ids, 'DELIBERATING', 'ACKNOWLEDGED');
