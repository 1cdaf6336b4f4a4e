-- The counters of what callers were told: on 17 and later (counters_1.out).

\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_counters;
SET search_path = test_counters, public;
CREATE TABLE orders (id int PRIMARY KEY, state text);
SELECT govern('orders', '{"new": ["sent", "lost"]}');
INSERT INTO orders VALUES (1, 'new');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 1, 'new', 'sent');
SELECT outcome FROM try_compare_and_swap(NULL::orders, 1, 'new', 'lost');
SELECT told($$SELECT assigned > 0 AND already_fated > 0 AND since < now() FROM petition_cas_counters() WHERE database = current_database()$$);
DROP SCHEMA test_counters CASCADE;
