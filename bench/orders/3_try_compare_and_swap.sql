-- petition_cas: try_compare_and_swap of an order
SELECT try_compare_and_swap(NULL::orders, concat('[', :tenant::int, ', ', :n::bigint, ']'), '2', '3');
