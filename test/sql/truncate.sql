-- TRUNCATE is judged when it is done: table and ledger together, in whatever order.

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_truncate;
SET search_path = test_truncate, public;

CREATE TABLE orders (id int PRIMARY KEY, state text, other text DEFAULT 'x');
SELECT govern('orders', '{"open": ["closed"]}');
INSERT INTO orders VALUES (1, 'open');
SELECT told('TRUNCATE orders');
INSERT INTO orders VALUES (1, 'open'), (2, 'open');
UPDATE orders SET state = 'closed' WHERE id = 1;
SELECT told('TRUNCATE orders');
SELECT told('TRUNCATE orders_fates');
SELECT * FROM orders ORDER BY id;
SELECT told('TRUNCATE orders, orders_fates');
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM orders_fates);
INSERT INTO orders VALUES (1, 'closed');
SELECT told('TRUNCATE orders_fates, orders');
SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM orders_fates);
-- Within a transaction, and with rows that came after it.
BEGIN;
INSERT INTO orders VALUES (1, 'closed');
TRUNCATE orders, orders_fates;
INSERT INTO orders VALUES (1, 'closed');
SELECT told('TRUNCATE orders_fates');
TRUNCATE orders_fates, orders;
COMMIT;
BEGIN;
INSERT INTO orders VALUES (1, 'closed');
SAVEPOINT s;
TRUNCATE orders, orders_fates;
ROLLBACK TO s;
SELECT told('TRUNCATE orders_fates');
COMMIT;
SELECT id, fate FROM orders_fates;
SELECT told('TRUNCATE orders_fates');

-- With several lifecycles: all ledgers, or none.
TRUNCATE orders, orders_fates;
SELECT govern('orders', '{"x": ["y"]}', state_column => 'other');
INSERT INTO orders VALUES (1, 'closed', 'y');
SELECT told('TRUNCATE orders, orders_fates');
SELECT told('TRUNCATE orders, orders_other_fates, orders_fates');

-- Only the owner; a role with the privilege may not.
INSERT INTO orders VALUES (1, 'closed', 'x');
CREATE ROLE regress_truncate;
GRANT USAGE ON SCHEMA test_truncate TO regress_truncate;
GRANT TRUNCATE ON orders, orders_fates, orders_other_fates TO regress_truncate;
SET ROLE regress_truncate;
SELECT told('TRUNCATE orders, orders_fates, orders_other_fates');
RESET ROLE;
SET petition_cas.allow_unguard = on;
SELECT told('UPDATE orders_fates SET fate = fate');
SELECT told('DELETE FROM orders_other_fates');
SELECT told('TRUNCATE orders_fates');
RESET petition_cas.allow_unguard;
SELECT * FROM verify_fates('orders');

-- Rows that need not be kept may go alone; their fates stay.
CREATE TABLE jobs (id int PRIMARY KEY, state text);
SELECT govern('jobs', '{"open": ["closed"]}', keep_rows => false);
INSERT INTO jobs VALUES (1, 'closed');
SELECT told('TRUNCATE jobs');
SELECT told('TRUNCATE jobs_fates');
SELECT told('TRUNCATE jobs, jobs_fates');
-- A ledger that no table uses, and the partitions of one.
SELECT ungovern('jobs');
SELECT told('TRUNCATE jobs, jobs_fates');
CREATE TABLE parted (id int PRIMARY KEY, state text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
SELECT govern('parted', '{"open": ["closed"]}');
INSERT INTO parted VALUES (1, 'closed'), (11, 'open');
SELECT told('TRUNCATE parted');
SELECT told('TRUNCATE parted_1, parted_fates');
SELECT told('TRUNCATE parted, parted_fates');
DROP OWNED BY regress_truncate;
DROP ROLE regress_truncate;
