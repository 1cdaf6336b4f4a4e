\ir payments.psql
SELECT govern('payments', '{"open": ["paid", "refused"]}');
