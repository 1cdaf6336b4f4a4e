-- compare_and_swap, without seen_hash
SELECT compare_and_swap(NULL::payments, :n::int, 'open', 'paid');
