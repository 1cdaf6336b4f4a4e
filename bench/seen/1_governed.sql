-- compare_and_swap, table without evidence
SELECT compare_and_swap(NULL::payments, :n::int, 'open', 'paid');
