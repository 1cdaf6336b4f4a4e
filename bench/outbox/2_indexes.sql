-- assign_fate, the ledger with an index for the feed and a BRIN for the time
SELECT assign_fate(:id, 'DELIBERATING', 'ACKNOWLEDGED');
