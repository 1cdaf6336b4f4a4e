\ir ../orders.sql
DROP TABLE orders_fates;
SELECT govern('orders', '{"1": ["2", "4"], "2": ["3", "4"]}');
