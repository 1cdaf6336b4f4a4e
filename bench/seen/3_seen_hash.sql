-- compare_and_swap, with seen_hash
SELECT compare_and_swap(NULL::payments, :n::int, 'open', 'paid', seen_hash => CASE :n::int % 2 WHEN 0 THEN '7167ca3df29aa0382838c80deecd436b8631dce848442fc0e81722968b7bfca3' ELSE '017ffb65c13b81032f34b18eea8cc2dbb0901b3f12c45016f018c416a2f0121c' END);
