-- petition_cas: try_compare_and_swap, with history
SELECT * FROM try_compare_and_swap(null::petition_submissions, :id, 'DELIBERATING', 'HEARD');
