-- petition_cas: compare_and_swap of an order
SELECT compare_and_swap(NULL::orders, concat('[', :tenant::int, ', ', :n::bigint, ']'), '2', '3');
